"""What a chaos run does, as a pure function of its seed: who is engaged, what they do, what is broken and when."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from domain.outcomes import EngagementOutcome as Outcome

SIDES = ("recrubo", "meta", "truora")
UNHURRIED_UNTIL = 0.4
"""The part of the run in which candidates are engaged who let us wait, so that it does not end with waiting only."""


class Persona(StrEnum):
    """What a candidate does; the words are the sandbox's."""

    ANSWERS = "answers"
    DECLINES = "declines"
    SILENT = "silent"
    AFTER_FOLLOW_UP = "answers-after-follow-up"
    STOPS = "stops"
    TEXTS = "texts"
    UNREACHABLE = "unreachable"


ENDS: dict[Persona, frozenset[Outcome]] = {
    Persona.ANSWERS: frozenset({Outcome.COMPLETED}),
    Persona.DECLINES: frozenset({Outcome.DECLINED}),
    Persona.SILENT: frozenset({Outcome.NO_REPLY}),
    Persona.AFTER_FOLLOW_UP: frozenset({Outcome.COMPLETED}),
    Persona.STOPS: frozenset({Outcome.OPTED_OUT}),
    Persona.TEXTS: frozenset({Outcome.HANDED_OVER}),
    Persona.UNREACHABLE: frozenset({Outcome.UNREACHABLE}),
}
"""How an engagement with each of them ends, whatever breaks meanwhile."""

_UNEXPLAINED = frozenset({Outcome.HANDED_OVER})
"""Truora tells that a process failed and not why, so a person takes it."""

_EARLY = {
    Persona.ANSWERS: 44,
    Persona.DECLINES: 11,
    Persona.SILENT: 10,
    Persona.AFTER_FOLLOW_UP: 15,
    Persona.STOPS: 7,
    Persona.TEXTS: 6,
    Persona.UNREACHABLE: 7,
}
_LATE = {
    Persona.ANSWERS: 58,
    Persona.DECLINES: 20,
    Persona.STOPS: 8,
    Persona.TEXTS: 6,
    Persona.UNREACHABLE: 8,
}
_TWINS_EVERY = 17
"""How often a candidate is engaged on two providers at once, on one phone."""


@dataclass(frozen=True)
class Person:
    """One candidate of one engagement. ``word`` is what only this phone answers."""

    reference: str
    side: str
    phone: str
    persona: Persona
    word: str
    delay: float
    prefers_resend: bool
    """The operator answers a message that never left by sending once more instead of saying so."""

    @property
    def ends(self) -> frozenset[Outcome]:
        """The outcomes that are right."""
        if self.side == "truora" and self.persona is Persona.UNREACHABLE:
            return _UNEXPLAINED
        return ENDS[self.persona]

    @property
    def answers(self) -> bool:
        """Whether the phone sends an answer that belongs into the result."""
        return self.persona in (Persona.ANSWERS, Persona.DECLINES, Persona.AFTER_FOLLOW_UP)


class Blow(StrEnum):
    """What is killed, and at which barrier."""

    BEFORE_REQUEST = "worker: before the request"
    AFTER_ACCEPTED = "worker: after the provider accepted"
    BEFORE_REPORT = "worker: before the activity reports"
    BETWEEN_ACTIVITIES = "worker: between activities"
    BEFORE_STORE = "gateway: before the store"
    BEFORE_ANSWER = "gateway: between store and answer"
    BEFORE_MARK = "gateway: between signal and mark"
    TEMPORAL = "Temporal: at any moment"

    @property
    def hits_worker(self) -> bool:
        """Whether the worker dies."""
        return self.value.startswith("worker")


_WORKER = (Blow.BEFORE_REQUEST, Blow.AFTER_ACCEPTED, Blow.BEFORE_REPORT, Blow.BETWEEN_ACTIVITIES)
_OTHERS = (Blow.BEFORE_ANSWER, Blow.BEFORE_MARK, Blow.BEFORE_STORE, Blow.BEFORE_ANSWER, Blow.BEFORE_MARK, Blow.TEMPORAL)


@dataclass(frozen=True)
class Strike:
    """One kill. ``side`` names the provider whose send is its barrier; empty where any request is."""

    blow: Blow
    side: str = ""


class Fault(StrEnum):
    """What the network does to one request."""

    CUT_REQUEST = "cut before it arrives"
    CUT_ANSWER = "cut before the answer arrives"
    DELAY_REQUEST = "late"
    DELAY_ANSWER = "answer late"


class Where(StrEnum):
    """Between whom."""

    PROVIDER = "worker and provider"
    WEBHOOK = "provider and gateway"
    WORKER_ENGINE = "worker and Temporal"
    GATEWAY_ENGINE = "gateway and Temporal"


@dataclass(frozen=True)
class Trouble:
    """One fault of the network; between us and Temporal every connection is cut."""

    where: Where
    fault: Fault
    seconds: float = 0.0


@dataclass(frozen=True)
class Size:
    """How large a run is, and its seed."""

    engagements: int
    kills: int
    seed: int


@dataclass(frozen=True)
class Wave:
    """What happens together: engagements that begin, a worker that dies, other kills, bad weather."""

    people: tuple[Person, ...]
    worker: Strike | None
    others: tuple[Strike, ...]
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True)
class Script:
    """The whole run."""

    size: Size
    waves: tuple[Wave, ...]

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody, in the order in which they are engaged."""
        return tuple(person for wave in self.waves for person in wave.people)

    @property
    def strikes(self) -> tuple[Strike, ...]:
        """Every kill."""
        return tuple(s for wave in self.waves for s in (*((wave.worker,) if wave.worker else ()), *wave.others))


def write_script(size: Size) -> Script:
    """The run of this seed: the same seed and sizes always give the same."""
    engagements, kills, seed = size.engagements, size.kills, size.seed
    draw = random.Random(seed)  # noqa: S311 - a run must repeat from its seed
    others = max(kills * 2 // 5, 1) if kills else 0
    waves = max(kills - others, 1)
    blows = _shuffled(draw, _WORKER, waves)
    rest = _shuffled(draw, _OTHERS, others)
    people = list(_people(draw, engagements, seed))
    written = []
    for n in range(waves):
        mine = tuple(people[n * engagements // waves : (n + 1) * engagements // waves])
        sides = sorted({person.side for person in mine}) or [""]
        written.append(
            Wave(
                people=mine,
                worker=Strike(blows[n], draw.choice(sides)) if kills else None,
                others=tuple(Strike(blow) for blow in rest[n * others // waves : (n + 1) * others // waves]),
                troubles=tuple(_weather(draw)) if kills else (),
            )
        )
    return Script(size, tuple(written))


def _shuffled(draw: random.Random, kinds: tuple[Blow, ...], many: int) -> list[Blow]:
    """As many of each kind as of the others, in any order."""
    blows = [kinds[n % len(kinds)] for n in range(many)]
    draw.shuffle(blows)
    return blows


def _people(draw: random.Random, many: int, seed: int) -> Iterator[Person]:
    """Each side in turn, so that every wave has all of them."""
    twin: Person | None = None
    for n in range(many):
        side = SIDES[n % len(SIDES)]
        weights = _EARLY if n < many * UNHURRIED_UNTIL else _LATE
        persona = draw.choices(list(weights), list(weights.values()))[0]
        if side == "truora" and persona is Persona.TEXTS:  # a text means nothing to Truora, so none is told
            persona = Persona.DECLINES
        person = Person(
            reference=f"chaos-{seed}-{n}",
            side=side,
            phone=f"+3161{n:07d}",
            persona=persona,
            word=f"word-{draw.getrandbits(40):010x}",
            delay=round(draw.uniform(0.5, 5.0), 2),
            prefers_resend=draw.random() < 0.25,
        )
        if twin is not None:
            person = replace(person, phone=twin.phone, word=twin.word, persona=twin.persona, delay=twin.delay)
            twin = None
        elif n % _TWINS_EVERY == 0 and n + 1 < many:
            person = replace(person, persona=Persona.ANSWERS)
            twin = person
        yield person


def _weather(draw: random.Random) -> Iterator[Trouble]:
    """A few faults for each wave; delays stay far below the limits that the product counts on."""
    yield Trouble(Where.PROVIDER, draw.choice((Fault.CUT_REQUEST, Fault.CUT_ANSWER)))
    yield Trouble(Where.PROVIDER, draw.choice((Fault.DELAY_REQUEST, Fault.DELAY_ANSWER)), draw.uniform(0.2, 1.5))
    yield Trouble(Where.WEBHOOK, draw.choice(tuple(Fault)), draw.uniform(0.2, 2.0))
    if draw.random() < 0.3:
        yield Trouble(draw.choice((Where.WORKER_ENGINE, Where.GATEWAY_ENGINE)), Fault.CUT_ANSWER)
