"""What a provider that counts sends in windows sees of a line."""

from bisect import bisect_left
from collections.abc import Sequence

SHORT = 1e-6
"""Sums of fractions are not exact."""


def busiest(instants: Sequence[float], seconds: float) -> int:
    """The most of them in any window that is so long."""
    ordered = sorted(instants)
    return max(bisect_left(ordered, at + seconds - SHORT) - n for n, at in enumerate(ordered))
