"""Plays many scenes at once through the gateway's own parts, on a real store; workflows are reduced to their state."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from domain.contacts import Alias, AliasKind, Candidate, phone_alias
from domain.engagements import Capabilities, Engagement, Route
from domain.events import FlowRunStatus, ProviderEvents
from domain.ids import engagement_workflow_id, send_key
from domain.plans import FlowRef, Opening, Plan, Silence, TemplateRef, UnexpectedText
from domain.sends import FlowRun
from domain.state import EngagementState
from gateway.group_commit import GroupCommit
from gateway.metrics import GatewayMetrics
from gateway.reading import Reading
from gateway.relay import Handover, Relay
from gateway.rematch import Rematch
from gateway.wakeup import Wakeup
from gateway.webhooks import Door, Message, WebhookApp
from providers.registry import provider_kind
from store.correlations import Correlations
from store.inbox import Inbox
from store.inbox_relay import Outbound
from store.inbox_review import InboxReview
from store.inbox_tables import inbox_deliveries, inbox_events, inbox_relays
from store.keys import KeyRing
from store.stores import Stores
from store.tables import contact_aliases, contact_lines, contacts, engagements, sends
from tests.permutations.live import START, Live
from tests.permutations.model import HEALING_TICKS, signals_at
from tests.permutations.scenes import Action, Claim, Deliver, Kind, Scene, Tick, Tie
from tests.permutations.wires import FLOW, FORGED, SECRET, TEMPLATE, Named, Told, delivery_of, key_of, receivers

TICK = timedelta(seconds=70)
"""Longer than the longest back-off of the relay, so that every tick tries everything."""
LINGERED = timedelta(seconds=5)

_TABLES = (inbox_deliveries, inbox_events, inbox_relays, sends, engagements, contact_aliases, contact_lines, contacts)
_CAPABILITIES: Mapping[str, Capabilities] = {
    name: provider_kind(name).capabilities for name in ("meta", "recrubo", "truora")
}
_LEDGER_MOVES = (
    update(sends)
    .where(sends.c.key == bindparam("its_key"))
    .values({name: bindparam(name) for name in ("state", "claimed_at", "run_id", "message_id", "session_id")})
)
_CLOSES = update(engagements).where(engagements.c.workflow_id == bindparam("its_id")).values(closed_at=bindparam("at"))


@dataclass
class Playing:
    """One scene on the stage."""

    scene: Scene
    prefix: str
    live: list[Live]
    told: dict[str, Told] = field(default_factory=dict)

    def provider(self, owner: int) -> str:
        return self.scene.engaged[owner].provider


@dataclass(frozen=True)
class Seen:
    """What came of a scene: where each fact lies, by its name, and what each engagement made of what it heard."""

    rows: dict[str, tuple[str, str]]
    live: tuple[Live, ...]
    prefix: str


class Stage:
    """A gateway taken apart, a store, and a clock that only the stage moves."""

    def __init__(self, stores: Stores, keys: KeyRing) -> None:
        self._stores, self._keys, self._receiving = stores, keys, receivers()
        self.at = START
        database, metrics = stores.database, GatewayMetrics(CollectorRegistry())
        clock: Callable[[], datetime] = lambda: self.at  # noqa: E731 - a clock is a function
        inbox, correlations = Inbox(database, keys, clock=clock), Correlations(database)
        doors = {(r.provider, r.account): Door(r.provider, r.account, r.reader) for r in self._receiving.values()}
        self._app = WebhookApp(doors, GroupCommit(inbox, lambda: None), metrics, clock)
        self._reading = Reading(inbox, correlations, keys, self._receiving, metrics=metrics, on_kept=lambda _: None)
        self._rematch = Rematch(
            InboxReview(database, keys, clock=clock),
            correlations,
            self._receiving,
            metrics=metrics,
            clock=clock,
            on_matched=lambda: None,
        )
        self._relay = Relay(Outbound(database, keys, clock=clock), self, metrics, Wakeup(), clock=clock, at_once=64)
        self._workflows: dict[str, Live] = {}
        self._signals = 0
        self._played = 0
        self._strangers = 0

    async def play(self, scenes: Sequence[Scene], pace: int) -> list[Seen]:
        """Play scenes side by side and give what came of each; nothing is left in the store.

        Signals are given every ``pace`` ticks: with 2 more than one event waits for one.
        """
        playing = [self._cast(scene) for scene in scenes]
        self._workflows = {live.workflow_id: live for one in playing for live in one.live}
        await self._stores.database.write(lambda connection: self._register(connection, playing))
        for number in range(max(len(scene.ticks) for scene in scenes) + HEALING_TICKS * pace):
            await self._tick(number, playing, signals=signals_at(number, pace))
        seen = await self._seen(playing)
        await self._stores.database.write(_clear)
        return seen

    async def _tick(self, number: int, playing: Sequence[Playing], *, signals: bool) -> None:
        ticks = [one.scene.ticks[number] if number < len(one.scene.ticks) else Tick() for one in playing]
        now = START + number * TICK
        self.at = now
        await self._act(playing, [tick.early for tick in ticks])
        await asyncio.gather(
            *(
                self._deliver(one, action)
                for one, tick in zip(playing, ticks, strict=True)
                for action in tick.early
                if isinstance(action, Deliver)
            )
        )
        while await self._reading.round() == 0.0:
            pass
        await self._act(playing, [tick.late for tick in ticks])
        await self._rematch.try_since(START - timedelta(days=1))
        if not signals:
            return
        self.at = now + LINGERED
        await self._signal_all()
        await self._act(playing, [() for _ in ticks])  # what the workflows have their sends' rows say now

    async def _signal_all(self) -> None:
        before = -1
        while before != self._signals:
            before = self._signals
            await self._relay.round()
            await self._relay.finish()

    async def signal(self, workflow_id: str, events: ProviderEvents) -> Handover:
        """As Temporal and the workflow do it: keep, read, and ask for the end of a run that a webhook only claims."""
        self._signals += 1
        live = self._workflows[workflow_id]
        if live.closed:
            return Handover.CLOSED
        fails = bool(live.troubles)
        if fails and not live.troubles.pop(0):
            return Handover.NOT_NOW
        live.hear(events, self.at)
        return Handover.NOT_NOW if fails else Handover.TAKEN

    def _cast(self, scene: Scene) -> Playing:
        self._played += 1
        prefix = f"p{self._played}"
        phones = [f"+316{self._strangers + n:08}" for n in range(2)]
        self._strangers += 2
        live = []
        for owner, cast_ in enumerate(scene.engaged):
            workflow_id = engagement_workflow_id("acme", f"{prefix}-{owner}")
            claimed = next(n for n, tick in enumerate(scene.ticks) if Claim(owner) in tick.early)
            named = Named(
                prefix=prefix,
                owner=owner,
                phone=phones[cast_.phone],
                line=cast_.line,
                thread=f"thread-{prefix}-{cast_.phone}" if cast_.provider == "recrubo" else "",
                names=self._keys.send_names(send_key(workflow_id, "opening", 1)),
                sent_at=START + claimed * TICK,
            )
            engagement = Engagement(
                tenant="acme",
                reference=f"{prefix}-{owner}",
                contact_id=f"ct_{phones[cast_.phone]}",
                candidate=Candidate(phone=named.phone),
                plan=_PLANS[cast_.texts_count],
                route=Route(
                    account=cast_.provider,
                    line=cast_.line,
                    provider=cast_.provider,
                    capabilities=_CAPABILITIES[cast_.provider],
                ),
                requested_at=START,
            )
            live.append(
                Live(engagement, workflow_id, named, _end_of_run(scene, named), EngagementState(started_at=START))
            )
        return Playing(scene, prefix, live)

    def _register(self, connection: Connection, playing: Sequence[Playing]) -> None:
        """People, engagements and sends that have not left, as the rest of the service would have written them."""
        lives = [live for one in playing for live in one.live]
        people = {live.engagement.contact_id: live for live in lives}
        known = [
            {
                "digest": self._keys.alias_digest(alias),
                "contact_id": id_,
                "kind": alias.kind.value,
                "scope": alias.scope,
                "learned_at": START,
            }
            for id_, live in people.items()
            for alias in (phone_alias(live.named.phone), *_threads(id_, lives))
        ]
        connection.execute(insert(contacts), [{"id": id_, "created_at": START} for id_ in people])
        connection.execute(insert(contact_aliases), known)
        connection.execute(insert(engagements), [live.registered() for live in lives])
        connection.execute(insert(sends), [live.intended() for live in lives])

    async def _deliver(self, one: Playing, action: Deliver) -> None:
        provider = one.provider(action.facts[0].owner)
        told = tuple(Told(fact, one.live[fact.owner].named, START + fact.at * TICK) for fact in action.facts)
        if not action.forged:
            one.told |= {key_of(provider, fact): fact for fact in told}
        body, headers = delivery_of(provider, told, FORGED if action.forged else SECRET)
        status = await _post(self._app, f"/webhooks/{provider}/{provider}", headers, body)
        assert status == (401 if action.forged else 200), f"answered {status}"

    async def _act(self, playing: Sequence[Playing], actions: Sequence[Sequence[Action]]) -> None:
        """What the sends, the workflows and operators do in one moment, for all scenes in one transaction."""
        for one, some in zip(playing, actions, strict=True):
            for action in some:
                if not isinstance(action, Deliver):
                    one.live[action.owner].do(action, self.at)
        lives = [live for one in playing for live in one.live if live.is_changed]
        if not lives:
            return
        sent = [{"its_key": live.send_key, **live.ledger, "state": live.ledger_state.value} for live in lives]
        closed = [{"its_id": live.workflow_id, "at": self.at} for live in lives if live.closed]

        def write(connection: Connection) -> None:
            connection.execute(_LEDGER_MOVES, sent)
            if closed:
                connection.execute(_CLOSES, closed)

        await self._stores.database.write(write)
        for live in lives:
            live.is_changed = False

    async def _seen(self, playing: Sequence[Playing]) -> list[Seen]:
        wanted = select(
            inbox_events.c.account, inbox_events.c.key_digest, inbox_events.c.state, inbox_events.c.workflow_id
        )
        rows = await self._stores.database.read(lambda connection: connection.execute(wanted).all())
        found = {(row.account, row.key_digest): (row.state, row.workflow_id) for row in rows}
        seen = []
        for one in playing:
            mine = {}
            for key, told in one.told.items():
                account = one.provider(told.fact.owner)
                mine[told.fact.name] = found.pop((account, self._keys.fingerprint(key)), ("missing", ""))
            seen.append(Seen(mine, tuple(one.live), one.prefix))
        assert not found, f"{len(found)} events in the inbox that nobody told"
        return seen


def _plan(*, texts_count: bool) -> Plan:
    return Plan(
        name="intake",
        opening=Opening(template=TemplateRef(name="hello", language="nl", id=TEMPLATE), flow=FlowRef(id=FLOW)),
        silence=Silence(after=timedelta(days=3)),
        unexpected_text=UnexpectedText.ANSWER if texts_count else UnexpectedText.KEEP_WAITING,
    )


_PLANS = {counts: _plan(texts_count=counts) for counts in (False, True)}


def _end_of_run(scene: Scene, named: Named) -> FlowRun:
    """How the run of a send ends in truth, for whoever asks the provider."""
    facts = [
        fact for tick in scene.ticks for action in tick.early if isinstance(action, Deliver) for fact in action.facts
    ]
    ours = [f for f in facts if f.owner == named.owner and f.tie is not Tie.FOREIGN]
    answered = next((f for f in ours if f.kind is Kind.ANSWER), None)
    if answered is None:
        return FlowRun(run_id=named.run_id, flow_run_status=FlowRunStatus.TIMED_OUT)
    answers = Told(answered, named, START).answer
    return FlowRun(run_id=named.run_id, flow_run_status=FlowRunStatus.FINISHED, answers=answers)


def _threads(contact_id: str, lives: Sequence[Live]) -> set[Alias]:
    threads = {live.named.thread for live in lives if live.engagement.contact_id == contact_id and live.named.thread}
    return {Alias(kind=AliasKind.THREAD, value=thread, scope="recrubo") for thread in threads}


async def _post(app: WebhookApp, path: str, headers: Mapping[str, str], body: bytes) -> int:
    """One request, without a socket; gives the status of its answer."""
    answers: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def respond(message: Message) -> None:
        answers.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "path": path, "method": "POST", "headers": raw}, receive, respond)
    status: int = answers[0]["status"]
    return status


def _clear(connection: Connection) -> None:
    for table in _TABLES:
        connection.execute(delete(table))
