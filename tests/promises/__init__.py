"""Promises about faults, hostile input and load, as data; `pytest tests --tally FILE` counts the cases tried."""
