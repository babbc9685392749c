"""Figures: what each side showed in each round, how the rounds spread, and whether the goal is met. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median


@dataclass(frozen=True)
class Spread:
    """The least, the middle and the most of what was seen."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, seen: Sequence[float]) -> "Spread":
        """The spread of at least one value. Raises ``ValueError`` for none."""
        if not seen:
            raise ValueError("nothing was measured")
        return cls(min(seen), median(seen), max(seen))


class Compared(StrEnum):
    """How two sides of a round are held against each other."""

    RATIO = "ratio"
    """Ours divided by the other side's."""
    DIFFERENCE = "difference"
    """Ours less the other side's."""
    ALONE = "alone"
    """Ours by itself: there is nothing to compare it with."""


class Verdict(StrEnum):
    """Whether a figure is as it should be."""

    MET = "met"
    MISSED = "missed"
    SHOWN = "shown"
    """It has no goal of its own."""


@dataclass(frozen=True)
class Goal:
    """What the middle of the compared rounds should be: at least, or at most."""

    text: str
    at_least: float | None = None
    at_most: float | None = None

    def verdict(self, spread: Spread) -> Verdict:
        """Whether it is so."""
        too_low = self.at_least is not None and spread.median < self.at_least
        too_high = self.at_most is not None and spread.median > self.at_most
        return Verdict.MISSED if too_low or too_high else Verdict.MET


@dataclass(frozen=True)
class Side:
    """One side of a figure: what it is, and what it showed in each round."""

    name: str
    seen: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Over all rounds."""
        return Spread.of(self.seen)


@dataclass(frozen=True)
class Figure:
    """One figure. ``other`` is what ours is held against, round by round; None where it stands alone."""

    name: str
    unit: str
    ours: Side
    other: Side | None = None
    compared: Compared = Compared.RATIO
    goal: Goal | None = None
    note: str = ""

    def __post_init__(self) -> None:
        """Raise ``ValueError`` where the sides were not measured in the same rounds."""
        if (self.other is None) != (self.compared is Compared.ALONE):
            raise ValueError(f"{self.name}: a figure that stands alone has no other side, and only that")
        if self.other is not None and len(self.other.seen) != len(self.ours.seen):
            raise ValueError(f"{self.name}: {len(self.ours.seen)} rounds of ours, {len(self.other.seen)} of the other")

    @property
    def rounds(self) -> tuple[float, ...]:
        """What each round says when both sides are held against each other."""
        if self.other is None:
            return self.ours.seen
        pairs = zip(self.ours.seen, self.other.seen, strict=True)
        if self.compared is Compared.DIFFERENCE:
            return tuple(ours - other for ours, other in pairs)
        return tuple(_ratio(ours, other) for ours, other in pairs)

    @property
    def spread(self) -> Spread:
        """Over the compared rounds."""
        return Spread.of(self.rounds)

    @property
    def verdict(self) -> Verdict:
        """Whether its goal is met."""
        return Verdict.SHOWN if self.goal is None else self.goal.verdict(self.spread)


@dataclass(frozen=True)
class Table:
    """Counts that belong together and are no comparison, as a table."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Report:
    """What one bench found, and under which conditions."""

    bench: str
    title: str
    command: str
    figures: tuple[Figure, ...]
    conditions: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    seconds: float = 0.0
    extra: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Missed when any goal is, met when every goal is."""
        verdicts = {figure.verdict for figure in self.figures}
        if Verdict.MISSED in verdicts:
            return Verdict.MISSED
        return Verdict.MET if Verdict.MET in verdicts else Verdict.SHOWN


def percentile(seen: Sequence[float], share: float) -> float:
    """The least value that is not under ``share`` of all (nearest rank). Raises ``ValueError`` for none."""
    if not seen:
        raise ValueError("nothing was measured")
    if not 0 < share <= 1:
        raise ValueError(f"a share is above 0 and at most 1, not {share}")
    ranked = sorted(seen)
    rank = -int(-share * len(ranked) // 1)  # rounded up
    return ranked[max(rank, 1) - 1]


def _ratio(ours: float, other: float) -> float:
    if other == 0:
        raise ValueError("a side that showed nothing cannot be compared with: its measurement failed")
    return ours / other
