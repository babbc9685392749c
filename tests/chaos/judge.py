"""Judges a run by the phones: nothing twice, nothing lost, nothing crossed, nothing stuck."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.outcomes import Decision
from domain.outcomes import EngagementOutcome as Outcome
from starter.views import EngagementView
from tests.chaos.phones import Message, Told
from tests.chaos.script import Person, Persona

INVITATION, REMINDER = "invitation", "reminder"
_BY_EVENT = "the provider's own event"
_BY_LEDGER = "the ledger"
_IS_MET = "the answer was lost"


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict rests on."""

    people: Sequence[Person]
    views: Mapping[str, EngagementView]
    """By reference, what the product says of each engagement."""
    messages: Sequence[Message]
    references: Mapping[str, str]
    """By the name that the provider sees of a send, the reference of its engagement."""
    told: Sequence[Told]
    left_in_inbox: Mapping[str, int]
    """What should be nought: what nobody has read or taken yet."""
    unmatched: int = 0
    """Events that belong to no open engagement: a webhook that came after the end, by nothing but its thread."""


@dataclass
class Verdict:
    """What is wrong, each with its engagement; all empty when every promise was kept."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    misattributed: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong_end: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    """Sends of unknown outcome: how many were met, and who settled them."""

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.misattributed or self.stuck or self.wrong_end or self.untold)

    @property
    def faults(self) -> list[str]:
        """Everything that is wrong, one line each."""
        return [*self.lost, *self.doubled, *self.misattributed, *self.stuck, *self.wrong_end, *self.untold]


def judge(evidence: Evidence) -> Verdict:
    """Compare what the product says with what the phones hold."""
    verdict = Verdict()
    on_phones = _by_phone(evidence.messages)
    for person in evidence.people:
        mine = on_phones.get((person.side, person.phone.removeprefix("+")), [])
        _judge_messages(verdict, person, mine, evidence.references)
        view = evidence.views.get(person.reference)
        if view is None or view.summary.outcome is None:
            verdict.stuck.append(f"{_who(person)}: has no outcome{_where(view)}")
            continue
        verdict.outcomes[view.summary.outcome.value] += 1
        _judge_end(verdict, person, view, mine)
        verdict.unknown.update(_how_settled(view))
    _judge_told(verdict, evidence)
    verdict.stuck += [f"inbox: {many} {state}" for state, many in evidence.left_in_inbox.items() if many]
    return verdict


def _by_phone(messages: Sequence[Message]) -> dict[tuple[str, str], list[Message]]:
    found: dict[tuple[str, str], list[Message]] = {}
    for message in messages:
        found.setdefault((message.provider, message.to), []).append(message)
    return found


def _judge_messages(verdict: Verdict, person: Person, mine: Sequence[Message], references: Mapping[str, str]) -> None:
    steps = Counter(message.template for message in mine)
    for template, many in steps.items():
        if many > 1:
            verdict.doubled.append(f"{_who(person)}: {many} times {template}")
        if template not in (INVITATION, REMINDER):
            verdict.misattributed.append(f"{_who(person)}: a message on template {template}")
    for message in mine:
        if message.reference is not None and references.get(message.reference) != person.reference:
            verdict.misattributed.append(f"{_who(person)}: a message of another engagement's send")


def _judge_end(verdict: Verdict, person: Person, view: EngagementView, mine: Sequence[Message]) -> None:
    settlement = view.snapshot.settlement if view.snapshot is not None else None
    outcome = view.summary.outcome
    assert outcome is not None
    answers = settlement.answers if settlement is not None else {}
    word = answers.get("word")
    if word is not None and word != person.word:
        verdict.misattributed.append(f"{_who(person)}: has the answer of another phone")
    if _has_answered(person, mine) and word != person.word:
        verdict.lost.append(f"{_who(person)}: the phone answered, the result ({outcome.value}) has no answer")
    elif outcome not in person.ends:
        wanted = " or ".join(sorted(end.value for end in person.ends))
        why = f" ({settlement.rule}: {settlement.reason})" if settlement is not None else ""
        verdict.wrong_end.append(f"{_who(person)}: ended as {outcome.value} in place of {wanted}{why}")
    if outcome is not Outcome.STOPPED and not mine:
        verdict.lost.append(f"{_who(person)}: ended as {outcome.value}, and nothing was ever sent")


def _has_answered(person: Person, mine: Sequence[Message]) -> bool:
    arrived = sum(message.arrived for message in mine)
    return person.answers and arrived >= (2 if person.persona is Persona.AFTER_FOLLOW_UP else 1)


def _how_settled(view: EngagementView) -> Counter[str]:
    """Who settled the unknown sends of one engagement, by its own decision log."""
    found: Counter[str] = Counter()
    unsettled = 0
    for line in view.snapshot.decisions if view.snapshot is not None else ():
        if line.rule == "outcome-unknown" and _IS_MET in line.text:
            found["met"] += 1
            unsettled += 1
        elif by := _settles(line):
            found[by] += 1
            found["met"] += (
                0 if unsettled else 1
            )  # an event that is faster than the lost answer: no line says it was lost
            unsettled -= min(unsettled, 1)
    found["answer"] += unsettled
    return found


def _settles(line: Decision) -> str:
    if line.rule == "reconciled":
        return "event" if _BY_EVENT in line.text else "ledger" if _BY_LEDGER in line.text else "reconcile"
    return "operator" if line.rule in ("resolve-send", "resend") else ""


def _judge_told(verdict: Verdict, evidence: Evidence) -> None:
    """The recruiter's system hears every end, each once."""
    heard = Counter(str(_reference_in(one.body)) for one in evidence.told)
    for person in evidence.people:
        if heard[person.reference] != 1:
            verdict.untold.append(f"{_who(person)}: the ATS heard of its end {heard[person.reference]} times")


def _reference_in(body: Mapping[str, object]) -> object:
    data = body.get("data")
    return data.get("reference") if isinstance(data, dict) else None


def _who(person: Person) -> str:
    return f"{person.reference} ({person.side}, {person.persona.value})"


def _where(view: EngagementView | None) -> str:
    if view is None or view.snapshot is None:
        return ""
    shown = view.snapshot
    return f", {shown.stage}, waits for {shown.waiting_for}" + (f", held: {shown.hold.reason}" if shown.hold else "")
