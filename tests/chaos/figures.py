"""The figures of a run: for people as a table, for programs as JSON."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles

from tests.chaos.barriers import Kill
from tests.chaos.fleet import Shape
from tests.chaos.judge import Evidence, Verdict
from tests.chaos.operator import Operator
from tests.chaos.phones import Refusal
from tests.chaos.script import Script


@dataclass(frozen=True)
class Figures:
    """What a run was and what it showed."""

    seed: int
    store: str
    workers: int
    gateways: int
    engagements: int
    kills: int
    kills_at_barrier: int
    kills_by_barrier: dict[str, int]
    barrier_never_came: dict[str, int]
    network_faults: dict[str, int]
    lost: int
    doubled: int
    misattributed: int
    stuck: int
    wrong_end: int
    untold: int
    outcomes: dict[str, int]
    unknowns_met: int
    settled_by_ledger: int
    settled_by_reconcile: int
    settled_by_event: int
    settled_by_operator: int
    settled_by_answer: int
    operator_said: dict[str, int]
    unlisted_unknowns: dict[str, int]
    client_mistakes: dict[str, int]
    messages: int
    unmatched_events: int
    seconds: float
    median_engagement_s: float
    slowest_engagement_s: float
    faults: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return not self.faults

    @property
    def command(self) -> str:
        """What repeats this run."""
        size = f"--engagements {self.engagements} --kills {self.kills} --seed {self.seed}"
        shape = f"--workers {self.workers} --gateways {self.gateways}"
        return f"python -m tests.chaos.run {size} {shape}" + (" --postgres" if self.store == "PostgreSQL" else "")

    def json(self) -> str:
        """For programs."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def table(self) -> str:
        """For people."""
        rows = [(name.replace("_", " "), _shown(value)) for name, value in asdict(self).items() if name != "faults"]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value}" for name, value in rows]
        return "\n".join([*lines, *(f"NOT KEPT: {fault}" for fault in self.faults)]) + "\n"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {many}" for name, many in value.items()) or "none"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def figures_of(
    script: Script,
    shape: Shape,
    evidence: Evidence,
    verdict: Verdict,
    *,
    kills: Sequence[Kill],
    weather: Counter[str],
    operator: Operator,
    refusals: Sequence[Refusal],
    seconds: float,
) -> Figures:
    """Add everything up."""
    took = [
        (view.summary.closed_at - view.summary.registered_at).total_seconds()
        for view in evidence.views.values()
        if view.summary.closed_at is not None
    ]
    return Figures(
        seed=script.size.seed,
        store="SQLite" if shape.store_url is None else "PostgreSQL",
        workers=shape.workers,
        gateways=shape.gateways,
        engagements=len(script.people),
        kills=len(kills),
        kills_at_barrier=sum(kill.at_barrier for kill in kills),
        kills_by_barrier=_sorted(Counter(kill.blow.value for kill in kills)),
        barrier_never_came=_sorted(
            Counter(f"{kill.blow.value} ({kill.why_not})" for kill in kills if not kill.at_barrier)
        ),
        network_faults=_sorted(weather),
        lost=len(verdict.lost),
        doubled=len(verdict.doubled),
        misattributed=len(verdict.misattributed),
        stuck=len(verdict.stuck),
        wrong_end=len(verdict.wrong_end),
        untold=len(verdict.untold),
        outcomes=_sorted(verdict.outcomes),
        unknowns_met=verdict.unknown["met"],
        settled_by_ledger=verdict.unknown["ledger"],
        settled_by_reconcile=verdict.unknown["reconcile"],
        settled_by_event=verdict.unknown["event"],
        settled_by_operator=verdict.unknown["operator"],
        settled_by_answer=verdict.unknown["answer"],
        operator_said=_sorted(operator.settled),
        unlisted_unknowns=_sorted(operator.unlisted),
        client_mistakes=_sorted(Counter(f"{one.provider} {one.operation} {one.rule}" for one in refusals)),
        messages=len(evidence.messages),
        unmatched_events=evidence.unmatched,
        seconds=round(seconds, 1),
        median_engagement_s=round(quantiles(took, n=2)[0], 1) if len(took) > 1 else 0.0,
        slowest_engagement_s=round(max(took, default=0.0), 1),
        faults=tuple(verdict.faults),
    )


def _sorted(counted: Counter[str]) -> dict[str, int]:
    return dict(sorted(counted.items()))
