"""What must come of a scene, told by plain rules: a small model that knows nothing of how the gateway is built."""

from dataclasses import dataclass, field

from tests.permutations.scenes import Carry, Claim, Close, Deliver, Fact, Kind, Scene, Settle, Tick, Tie, Trouble

HEALING_TICKS = 4
"""Signals at the end of a scene, when nothing new happens: what waits is tried again and taken."""

_REACH = (Kind.SENT, Kind.FAILED, Kind.DELIVERED, Kind.READ)
"""How much each status says: the best that was told stands."""


def signals_at(tick: int, pace: int) -> bool:
    """Whether the relay works at the end of a tick."""
    return (tick + 1) % pace == 0


@dataclass
class Row:
    """One fact in the inbox. ``state`` is the inbox's word; ``final``: no weak tie counts any more."""

    fact: Fact
    state: str = "unmatched"
    owner: int | None = None
    final: bool = False


@dataclass
class Engagement:
    """What the model knows of one engagement."""

    claimed: int | None = None
    settled: bool = False
    lost: bool = False
    ids_known: bool = False
    ids_heard: bool = False
    closed: bool = False
    troubles: list[bool] = field(default_factory=list)
    heard: list[Fact] = field(default_factory=list)
    outcome: str = ""
    answer: str = ""

    @property
    def message(self) -> str:
        """The status of its message, empty while none was told."""
        told = [kind for kind in _REACH if any(fact.kind is kind for fact in self.heard)]
        return told[-1].value if told else ""


class Model:
    """Plays a scene by the rules."""

    def __init__(self, scene: Scene, pace: int) -> None:
        self.scene = scene
        self.engagements = [Engagement() for _ in scene.engaged]
        self.rows: dict[str, Row] = {}
        for number, tick in enumerate((*scene.ticks, *([Tick()] * HEALING_TICKS * pace))):
            self._tick(number, tick)
            if signals_at(number, pace):
                for owner in range(len(self.engagements)):
                    self._signal(owner)
        for one in self.engagements:
            if not one.outcome and one.closed:
                one.outcome = "no-reply"

    def _tick(self, number: int, tick: Tick) -> None:
        fresh: list[Row] = []
        for action in tick.early:
            if isinstance(action, Deliver):
                fresh += self._store(action)
            else:
                self._act(number, action)
        for row in fresh:
            self._place(row)
        for action in tick.late:
            self._act(number, action)
        for row in self.rows.values():
            if row.state == "unmatched":
                self._place(row)

    def _store(self, delivery: Deliver) -> list[Row]:
        if delivery.forged:
            return []
        fresh = []
        for fact in delivery.facts:
            if fact.name not in self.rows:
                self.rows[fact.name] = Row(fact)
                fresh.append(self.rows[fact.name])
        return fresh

    def _act(self, number: int, action: Claim | Settle | Deliver | Close | Trouble | Carry) -> None:
        if isinstance(action, Deliver | Carry):
            return
        one = self.engagements[action.owner]
        match action:
            case Claim():
                one.claimed = number
            case Settle():
                one.settled, one.lost = True, action.lost
                one.ids_known = one.ids_known or not action.lost or (one.ids_heard and not one.closed)
            case Close():
                one.closed = True
            case Trouble():
                one.troubles.append(action.taken)

    def _place(self, row: Row) -> None:
        over = self._over(row.fact) if not row.final else []
        if over:
            row.state, row.owner = "late", over[0] if len(over) == 1 else None
            return
        home, final = self._home(row.fact, weak=not row.final)
        row.final = row.final or final
        if home is not None:
            row.state, row.owner = "pending", home

    def _over(self, fact: Fact) -> list[int]:
        """The engagements that a status on a thread can be about, when all of them are closed."""
        if fact.tie is not Tie.PERSON or fact.kind is Kind.TEXT:
            return []
        near = self._neighbours(fact, self.engagements[fact.owner].claimed or 0)
        return near if all(self.engagements[n].closed for n in near) else []

    def _home(self, fact: Fact, *, weak: bool) -> tuple[int | None, bool]:
        """Where a fact belongs as far as can be known now, and whether it is undecidable for weak ties for good."""
        if fact.tie is Tie.NAME or (fact.tie is Tie.ID and self.engagements[fact.owner].ids_known):
            return fact.owner, False
        provider = self.scene.engaged[fact.owner].provider
        if not weak:
            return None, False
        if fact.kind is Kind.TEXT:
            return self._only_open(fact, happened=fact.at, quotes=provider == "meta" and fact.tie is not Tie.PERSON)
        if fact.tie is Tie.PERSON:  # a status on a thread: it is about a message that was made when its send left
            return self._only_open(fact, happened=self.engagements[fact.owner].claimed or 0, quotes=False)
        if fact.tie is Tie.ID and provider in ("recrubo", "truora"):
            return self._only_lost(fact)
        return None, False

    def _neighbours(self, fact: Fact, happened: int) -> list[int]:
        """Engagements of this person at this account whose send had left by then."""
        mine = self.scene.engaged[fact.owner]
        return [
            n
            for n, (cast, one) in enumerate(zip(self.scene.engaged, self.engagements, strict=True))
            if (cast.phone, cast.provider) == (mine.phone, mine.provider)
            and one.claimed is not None
            and one.claimed <= happened
        ]

    def _only_open(self, fact: Fact, happened: int, *, quotes: bool) -> tuple[int | None, bool]:
        near = self._neighbours(fact, happened)
        fitting = [n for n in near if not self.engagements[n].closed]
        if quotes and any(self.engagements[n].closed and not self.engagements[n].ids_known for n in near):
            return None, False  # the quoted message may be one whose id is not known yet
        return (fitting[0], False) if len(fitting) == 1 else (None, len(fitting) > 1)

    def _only_lost(self, fact: Fact) -> tuple[int | None, bool]:
        nameless = [n for n in self._neighbours(fact, fact.at) if not self.engagements[n].ids_known]
        if any(not self.engagements[n].settled for n in nameless):
            return None, False  # an answer that is on its way may name this very run
        return (nameless[0], False) if len(nameless) == 1 else (None, len(nameless) > 1)

    def _signal(self, owner: int) -> None:
        one = self.engagements[owner]
        due = [row for row in self.rows.values() if row.state == "pending" and row.owner == owner]
        if not due:
            return
        if one.closed:
            state, taken = "late", False
        elif one.troubles:
            state, taken = "pending", one.troubles.pop(0)
        else:
            state, taken = "relayed", True
        for row in due:
            row.state = state
        if taken:
            for fact in self._read(owner, [row.fact for row in due if row.fact not in one.heard]):
                self._hear(one, fact)
        if one.settled and one.lost and one.ids_heard and not one.closed:
            one.ids_known = True

    def _read(self, owner: int, facts: list[Fact]) -> list[Fact]:
        """In order of arrival; but where an end is confirmed first, texts and failures wait for what that brings."""
        ends = [n for n, fact in enumerate(facts) if fact.kind in (Kind.ANSWER, Kind.EXPIRED)]
        if self.scene.engaged[owner].provider != "recrubo" or not ends:
            return facts
        waiting = [fact for fact in facts[ends[0] :] if fact.kind in (Kind.TEXT, Kind.FAILED)]
        return [fact for fact in facts if fact not in waiting] + waiting

    def _hear(self, one: Engagement, fact: Fact) -> None:
        one.heard.append(fact)
        one.ids_heard = one.ids_heard or fact.tie is Tie.NAME or (fact.tie is Tie.ID and fact.kind is not Kind.TEXT)
        if one.outcome:
            return
        match fact.kind:
            case Kind.ANSWER:
                one.outcome, one.answer = "completed", fact.name
            case Kind.CANCEL:
                one.outcome = "declined"
            case Kind.TEXT if self._counts(one):
                one.outcome, one.answer = "completed", fact.name
            case Kind.FAILED if one.message == Kind.FAILED.value:
                one.outcome = "unreachable"

    def _counts(self, one: Engagement) -> bool:
        return next(
            cast.texts_count for cast, known in zip(self.scene.engaged, self.engagements, strict=True) if known is one
        )
