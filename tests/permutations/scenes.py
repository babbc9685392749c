"""Scenes: one or two engagements, what providers tell about them, and one of the many orders in which it happens."""

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """What a fact tells."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    STARTED = "started"
    ANSWER = "answer"
    TEXT = "text"
    CANCEL = "cancel"
    EXPIRED = "expired"


class Tie(StrEnum):
    """By what a fact can be tied to an engagement."""

    NAME = "name"
    """Our own reference or token."""
    ID = "id"
    """An id of the provider's, which we know once the answer of the send is stored."""
    PERSON = "person"
    """Only the person, or their thread."""
    NOTHING = "nothing"
    """A form's answer without token and without context."""
    FOREIGN = "foreign"
    """A reference, token or id that was never ours."""


@dataclass(frozen=True)
class Engaged:
    """One engagement. ``phone`` 0 or 1; with ``texts_count`` its plan takes a text for the answer."""

    provider: str
    line: str
    phone: int = 0
    texts_count: bool = False


@dataclass(frozen=True)
class Fact:
    """One fact that a provider tells. ``owner``: about which engagement; ``at``: the tick in which it happened."""

    name: str
    kind: Kind
    owner: int
    tie: Tie
    at: int = 0


@dataclass(frozen=True)
class Claim:
    """The send of an engagement is about to leave."""

    owner: int


@dataclass(frozen=True)
class Settle:
    """The answer of the send arrives and is stored, or it is lost."""

    owner: int
    lost: bool


@dataclass(frozen=True)
class Deliver:
    """One request of a provider's. A forged one is signed with somebody else's secret."""

    facts: tuple[Fact, ...]
    forged: bool = False


@dataclass(frozen=True)
class Close:
    """The engagement ends; if nothing decided it before, as NO_REPLY."""

    owner: int


@dataclass(frozen=True)
class Trouble:
    """The next signal to the engagement fails; with ``taken`` it arrived all the same."""

    owner: int
    taken: bool


@dataclass(frozen=True)
class Carry:
    """The workflow continues as new."""

    owner: int


Action = Claim | Settle | Deliver | Close | Trouble | Carry


@dataclass(frozen=True)
class Tick:
    """What happens before the gateway reads its deliveries, and what happens between that and its signals."""

    early: tuple[Action, ...] = ()
    late: tuple[Action, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A cast and what happens, tick by tick."""

    engaged: tuple[Engaged, ...]
    ticks: tuple[Tick, ...]


STATUSES = (Kind.SENT, Kind.DELIVERED, Kind.READ, Kind.FAILED)
_KINDS: dict[str, tuple[Kind, ...]] = {
    "meta": (*STATUSES, Kind.ANSWER, Kind.TEXT),
    "recrubo": (*STATUSES, Kind.STARTED, Kind.ANSWER, Kind.TEXT),
    "truora": (Kind.SENT, Kind.STARTED, Kind.ANSWER, Kind.CANCEL, Kind.EXPIRED),
}
_OTHER = {"meta": "truora", "recrubo": "meta", "truora": "recrubo"}
_SHAPES = ("alone", "alone", "same line", "two lines", "two providers", "one after another", "two people")


def random_scene(random: Random, provider: str) -> Scene:
    """One of the many orders, of a cast in which the first engagement is carried by ``provider``."""
    shape = random.choice(_SHAPES)
    engaged = _cast(random, shape, provider)
    actions: list[Action] = [action for owner in range(len(engaged)) for action in _script(random, engaged, owner)]
    random.shuffle(actions)
    return _scheduled(random, engaged, _with_claims(random, engaged, actions, one_by_one=shape == "one after another"))


def _cast(random: Random, shape: str, provider: str) -> tuple[Engaged, ...]:
    first = Engaged(provider, f"{provider}-1", 0, random.random() < 0.5)
    if shape == "alone":
        return (first,)
    other = replace(first, texts_count=random.random() < 0.5)
    match shape:
        case "two lines":
            other = replace(other, line=f"{provider}-2")
        case "two providers":
            other = replace(other, provider=_OTHER[provider], line=f"{_OTHER[provider]}-1")
        case "two people":
            other = replace(other, phone=1)
    return first, other


def _script(random: Random, engaged: tuple[Engaged, ...], owner: int) -> list[Action]:
    """What happens to one engagement, in no order yet, repeats among it."""
    provider = engaged[owner].provider
    kinds: list[Kind] = [kind for kind in _KINDS[provider] if random.random() < 0.45]
    if provider == "recrubo" and random.random() < 0.2:  # a run has one end, and the provider can be asked for it
        kinds = [Kind.EXPIRED, *filter(Kind.ANSWER.__ne__, kinds)]
    if provider == "meta" and Kind.ANSWER in kinds and random.random() < 0.2:
        kinds.append(Kind.ANSWER)  # a form can be submitted twice
    facts = [Fact(f"{owner}-{n}", kind, owner, _tie(random, provider, kind)) for n, kind in enumerate(kinds)]
    delivered: list[Action] = [Deliver((fact,), forged=random.random() < 0.04) for fact in facts]
    delivered += [Deliver((fact,)) for fact in facts for _ in range(random.choice((0, 0, 0, 0, 1, 2)))]
    script: list[Action] = [*delivered, Settle(owner, lost=random.random() < 0.2)]
    for action, chance in (
        (Close(owner), 0.4),
        (Trouble(owner, taken=random.random() < 0.5), 0.25),
        (Carry(owner), 0.15),
    ):
        if random.random() < chance:
            script.append(action)
    return script


def _tie(random: Random, provider: str, kind: Kind) -> Tie:
    if kind is Kind.TEXT or (provider == "recrubo" and kind in STATUSES):
        return random.choice((Tie.PERSON, Tie.ID, Tie.FOREIGN)) if provider == "meta" else Tie.PERSON
    if provider == "meta" and kind is Kind.ANSWER and random.random() < 0.12:
        return Tie.NOTHING
    return random.choices((Tie.NAME, Tie.ID, Tie.FOREIGN), (5, 4, 1))[0]


def _with_claims(
    random: Random, engaged: tuple[Engaged, ...], actions: list[Action], *, one_by_one: bool
) -> list[Action]:
    """The same with every claim before whatever depends on it."""
    if one_by_one:
        mine = [action for action in actions if owner_of(action) == 0 and not isinstance(action, Close)]
        cut = random.randint(0, len(mine))
        after = [*mine[cut:], *(action for action in actions if owner_of(action) == 1)]
        random.shuffle(after)
        at = next((n for n, action in enumerate(after) if owner_of(action) == 1), len(after))
        return [Claim(0), *mine[:cut], Close(0), *after[:at], Claim(1), *after[at:]]
    for owner in range(len(engaged)):
        first = next((n for n, action in enumerate(actions) if owner_of(action) == owner), len(actions))
        actions.insert(random.randint(0, first), Claim(owner))
    return actions


def owner_of(action: Action) -> int:
    """Whose action it is."""
    return action.facts[0].owner if isinstance(action, Deliver) else action.owner


def _scheduled(random: Random, engaged: tuple[Engaged, ...], actions: list[Action]) -> Scene:
    """Cut into ticks; each fact happens at some tick between its send's claim and its first delivery."""
    ticks: list[Tick] = []
    claimed: dict[int, int] = {}
    happened: dict[str, int] = {}
    while actions:
        many = random.choice((1, 2, 3, 4))
        some, actions = actions[:many], actions[many:]
        early: list[Action] = []
        late: list[Action] = []
        for action in some:
            if isinstance(action, Claim):
                claimed[action.owner] = len(ticks)
            if isinstance(action, Deliver):
                fact = action.facts[0]
                at = happened.setdefault(fact.name, random.randint(claimed[fact.owner], len(ticks)))
                early.append(replace(action, facts=(replace(fact, at=at),)))
            else:
                (early if isinstance(action, Claim) or random.random() < 0.6 else late).append(action)
        ticks.append(Tick(tuple(_batched(random, engaged, early)), tuple(late)))
    return Scene(engaged, tuple(ticks))


def _batched(random: Random, engaged: tuple[Engaged, ...], actions: list[Action]) -> list[Action]:
    """Some providers tell several facts in one request, about several engagements too."""
    joined: list[Action] = []
    for action in actions:
        last = joined[-1] if joined else None
        if isinstance(last, Deliver) and isinstance(action, Deliver) and last.forged == action.forged:
            provider = engaged[action.facts[0].owner].provider
            same = engaged[last.facts[0].owner].provider == provider
            if same and provider != "recrubo" and random.random() < 0.5:
                joined[-1] = replace(last, facts=(*last.facts, *action.facts))
                continue
        joined.append(action)
    return joined
