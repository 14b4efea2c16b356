"""Argument checks shared by the public entries: each error names the argument, its value and what is legal."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import TypeVar

__all__ = ["check_choice", "check_float", "check_int", "shown"]

_Choice = TypeVar("_Choice", bound=str)


def check_int(name: str, value: object, low: int, high: int) -> int:
    """Return ``value`` as an int in ``[low, high]``.

    Raises
    ------
    TypeError
        If ``value`` is not an integer (a bool is none).
    ValueError
        If it lies outside the range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{name} must be an integer in {low}..{high}, got {shown(value)} of type {type(value).__name__}"
        )
    number = int(value)
    if not low <= number <= high:
        raise ValueError(f"{name} must be an integer in {low}..{high}, got {shown(number)}")
    return number


def check_float(
    name: str, value: object, low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False
) -> float:
    """Return ``value`` as a finite float in ``[low, high]``; ``open_low`` and ``open_high`` leave out that end.

    Raises
    ------
    TypeError
        If ``value`` is not a real number (a bool is none).
    ValueError
        If it is not finite or lies outside the interval.
    """
    legal = f"a number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high or math.isinf(high) else ']'}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {legal}, got {shown(value)} of type {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be {legal}, got {shown(value)}") from None
    inside = (low < number if open_low else low <= number) and (number < high if open_high else number <= high)
    if not (math.isfinite(number) and inside):
        raise ValueError(f"{name} must be {legal}, got {shown(value)}")
    return number + 0.0  # minus zero becomes zero: they are equal, so they must also be written alike


def check_choice(name: str, value: object, legal: Iterable[_Choice]) -> _Choice:
    """Return the member of ``legal`` that equals the string ``value``.

    Raises
    ------
    TypeError
        If ``value`` is not a string.
    ValueError
        If it is not in ``legal``.
    """
    choices = list(legal)
    listed = ", ".join(repr(choice) for choice in choices)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {listed}, got {shown(value)} of type {type(value).__name__}")
    for choice in choices:
        if choice == value:
            return choice
    raise ValueError(f"{name} must be one of {listed}, got {shown(value)}")


def shown(value: object) -> str:
    """Return ``repr(value)``, cut where it would flood the message; the type alone where it has none."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:  # foreign code
        return f"something of the type {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
