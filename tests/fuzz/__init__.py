"""Hostile calls by the million: each case follows from a seed and a number, and can be made again alone."""
