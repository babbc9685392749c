"""What operators do with the inbox: look, try again, say where an event belongs, put it aside.

Nothing that a person wrote and no address is ever shown: the provider's own ids lead to the conversation there.
"""

from dataclasses import dataclass, replace

import structlog

from domain.errors import BadInput, Mistake, NotAllowed, NotFound
from domain.events import ProviderEvent
from domain.ids import spoken
from domain.model import Instant, Model
from domain.topology import Topology
from gateway.correlation import may_tie_weakly
from gateway.placement import AccountLines, place
from store.correlations import Correlations, Sighting
from store.inbox_desk import REPLAYABLE, DeskEntry, InboxDesk, Wanted
from store.inbox_review import InboxReview
from store.inbox_tables import EventState
from store.keys import KeyRing
from store.registry import EngagementRegistry
from store.stores import Stores

log = structlog.get_logger()


class InboxEvent(Model):
    """An event as an operator sees it. ``reason`` is why it stands where it stands."""

    id: int
    provider: str
    account: str
    kind: str
    state: EventState
    reason: str
    workflow_id: str = ""
    send_key: str = ""
    received_at: Instant
    settled_at: Instant | None = None
    failures: int = 0
    """Signals to its engagement that failed in a row; the next one leaves at ``tried_again_at``."""
    tried_again_at: Instant | None = None


class InboxEventDetails(Model):
    """One event with what ties it, and what it may belong to. Tokens are only said to be there."""

    event: InboxEvent
    occurred_at: Instant | None = None
    ties: dict[str, str] = {}
    may_belong_to: tuple[str, ...] = ()
    """Workflow ids of open engagements of the same person at this account."""


@dataclass(frozen=True)
class InboxService:
    """The operators' side of the inbox. Every method may raise ``StoreUnavailable``."""

    desk: InboxDesk
    review: InboxReview
    correlations: Correlations
    registry: EngagementRegistry
    keys: KeyRing
    topology: Topology

    @classmethod
    def on(cls, stores: Stores, topology: Topology) -> "InboxService":
        """The service on an open store."""
        database, keys = stores.database, stores.keys
        return cls(
            desk=InboxDesk(database, keys),
            review=InboxReview(database, keys),
            correlations=Correlations(database),
            registry=stores.registry,
            keys=keys,
            topology=topology,
        )

    async def list(self, wanted: Wanted) -> tuple[InboxEvent, ...]:
        """Events, newest first. Raises ``BadInput`` for an account that the configuration does not have."""
        known = [account.slug for account in self.topology.accounts]
        if wanted.account and wanted.account not in known:
            raise BadInput([Mistake(f"no such account; there are {', '.join(known)}", field="--account")])
        return tuple(_shown(entry) for entry in await self.desk.list(wanted))

    async def show(self, event_id: int) -> InboxEventDetails:
        """One event with its ties. Raises ``NotFound``."""
        entry = await self.desk.get(event_id)
        if entry.event is None:
            return InboxEventDetails(event=_shown(entry))
        ties = {name: value for name, value in entry.event.ties.model_dump().items() if value}
        if "flow_token" in ties:
            ties["flow_token"] = "(there is one)"  # noqa: S105 - said in place of the token
        people = await self._engagements_of_sender(entry, entry.event)
        return InboxEventDetails(
            event=_shown(entry), occurred_at=entry.event.occurred_at, ties=ties, may_belong_to=people
        )

    async def replay(self, event_id: int) -> InboxEvent:
        """Try an event again: read a quarantined delivery anew, take any other through correlation once more.

        Raises ``NotFound`` and ``NotAllowed``. A delivery that is read anew becomes events with ids of their own.
        """
        entry = await self.desk.get(event_id)
        if entry.state is EventState.QUARANTINED:
            await self.desk.reread(event_id)
            return _shown(replace(entry, state=EventState.PENDING, rule="to be read again"))
        if entry.state not in REPLAYABLE:
            states = " or ".join(REPLAYABLE)
            raise NotAllowed(f"Event {event_id} is {entry.state}: only what is {states} can be tried again")
        if entry.event is None:
            raise NotAllowed(f"Event {event_id} cannot be opened: it was erased, or its master key is not given here")
        sighting = self._sighting(entry.event).settled(may_weaken=entry.may_weaken)
        found = await self.correlations.find(entry.account, [sighting])
        lines = self.topology.lines_of(entry.account)
        its = AccountLines(
            tuple(line.slug for line in lines), {line.sender: line.slug for line in lines if line.sender}
        )
        placement = place(entry.event, sighting, found, its)
        await self.desk.reopen(event_id, sighting.model_dump_json())
        await self.review.retry_unmatched([(event_id, placement)])
        log.info("inbox_event_replayed", event_id=event_id, state=placement.state.value, rule=placement.rule)
        return _shown(await self.desk.get(event_id))

    async def assign(self, event_id: int, tenant: str, reference: str, actor: str, reason: str) -> InboxEvent:
        """Hand an event to an engagement, whatever correlation thinks of it. ``actor`` answers for it.

        Raises ``NotFound`` for an event or engagement that is not there; ``NotAllowed`` for an event that needs
        nobody, an engagement that has ended, and one that another account carries.
        """
        row = await self.registry.get(tenant, reference)
        if row is None:
            raise NotFound(f"tenant {tenant} has no engagement {spoken(reference)}")
        if row.outcome is not None:
            raise NotAllowed(f"engagement {reference} has ended as {row.outcome.value}: it takes nothing any more")
        entry = await self.desk.get(event_id)
        if entry.account != row.account:
            text = f"event {event_id} came in at account {entry.account}, engagement {reference} is at {row.account}"
            raise NotAllowed(f"{text}: it cannot belong there")
        await self.desk.assign(event_id, row.workflow_id, actor, reason)
        log.info("inbox_event_assigned", event_id=event_id, workflow_id=row.workflow_id, actor=actor)
        return _shown(await self.desk.get(event_id))

    async def discard(self, event_id: int, actor: str, reason: str) -> InboxEvent:
        """Put an event aside for good. Raises ``NotFound`` and ``NotAllowed``."""
        await self.desk.discard(event_id, actor, reason)
        log.info("inbox_event_discarded", event_id=event_id, actor=actor)
        return _shown(await self.desk.get(event_id))

    def _sighting(self, event: ProviderEvent) -> Sighting:
        return Sighting.of(event, self.keys, thread_may_tie=may_tie_weakly(event))

    async def _engagements_of_sender(self, entry: DeskEntry, event: ProviderEvent) -> tuple[str, ...]:
        found = await self.correlations.find(entry.account, [self._sighting(event)])
        people = {*found.contacts.values()} | {send.contact_id for sends in found.on_thread.values() for send in sends}
        return tuple(sorted(one.workflow_id for person in people for one in found.engaged.get(person, ())))


def _shown(entry: DeskEntry) -> InboxEvent:
    return InboxEvent(
        id=entry.id,
        provider=entry.provider,
        account=entry.account,
        kind=entry.kind,
        state=entry.state,
        reason=entry.rule,
        workflow_id=entry.workflow_id,
        send_key=entry.send_key,
        received_at=entry.received_at,
        settled_at=entry.settled_at,
        failures=entry.failures,
        tried_again_at=entry.not_before,
    )
