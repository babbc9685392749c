"""Writes one engagement as one document, out of the registry, the archive, the ledger and Temporal's history."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from domain.contacts import Consent
from domain.engagements import Engagement
from domain.errors import NotFound
from domain.events import ProviderEvent
from domain.export import (
    EngagementExport,
    ExportedMessage,
    ExportedPlan,
    ExportedStatus,
    InboundFrom,
    OperatorAction,
)
from domain.outcomes import Decision
from domain.plans import Plan
from domain.sends import LedgerEntry
from domain.snapshot import SendView
from starter.contents import Contents, contents_of
from starter.looking_back import LookingBack, Seen
from store.clock import bookkeeping_now
from store.contacts import Contacts
from store.inbox_desk import InboxDesk

WITH_THE_HISTORY = (
    "with it went what the candidate wrote that ended nothing, what the provider told of each message, and the ids of "
    "operators' commands"
)


class ExportService:
    """Exports engagements. No worker is needed for one that has ended. May raise ``StoreUnavailable``."""

    def __init__(
        self,
        looking: LookingBack,
        contacts: Contacts,
        desk: InboxDesk,
        *,
        clock: Callable[[], datetime] = bookkeeping_now,
    ) -> None:
        self._looking, self._contacts, self._desk, self._clock = looking, contacts, desk, clock

    async def export(self, tenant: str, reference: str) -> EngagementExport:
        """Everything that is kept of one engagement; what is missing is named in it.

        Raises ``NotFound`` for what is not this tenant's.
        """
        seen = await self._looking.see(tenant, reference)
        row, snapshot = seen.row, seen.snapshot
        begun = await self._looking.input_of(row)
        contents = await self._contents(seen)
        decisions = snapshot.decisions if snapshot is not None else ()
        return EngagementExport(
            exported_at=self._clock(),
            tenant=row.tenant,
            reference=row.reference,
            workflow_id=row.workflow_id,
            contact_id=row.contact_id,
            job=row.job,
            account=row.account,
            line=row.line,
            provider=row.provider,
            registered_at=row.created_at,
            started_at=row.started_at,
            closed_at=row.closed_at,
            erased_at=row.erased_at,
            plan=_plan(seen, begun, contents.plans),
            consents=await self._consents(seen, begun),
            outcome=snapshot.settlement if snapshot is not None else None,
            messages=tuple(_messages(seen, await self._looking.sends_of(row), contents)),
            decisions=decisions,
            operator_actions=tuple(_actions(contents.actions, decisions)),
            inbound=tuple(sorted(contents.inbound, key=lambda one: one.at)),
            missing=tuple(_missing(seen, contents)),
        )

    async def _contents(self, seen: Seen) -> Contents:
        """What history and inbox hold of the person; of somebody who was erased nothing is opened any more.

        Not even in the minute in which this process may still have their key.
        """
        if seen.row.erased_at is not None:
            return Contents()
        contents = await contents_of(seen.events, self._looking.engine)
        for entry in await self._desk.of_engagement(seen.row.workflow_id):
            if entry.event is not None:
                contents.take(entry.event, InboundFrom.INBOX)
        return contents

    async def _consents(self, seen: Seen, begun: Engagement | None) -> tuple[Consent, ...]:
        """Those that this tenant has of the person; that of the engagement first."""
        own = begun.candidate.consent if begun is not None else None
        try:
            known = (await self._contacts.record(seen.row.contact_id)).consents
        except NotFound:
            known = ()
        of_tenant = [
            Consent(source=one.source, obtained_at=one.obtained_at) for one in known if one.tenant == seen.row.tenant
        ]
        return tuple(dict.fromkeys([*([own] if own is not None else []), *of_tenant]))


def _plan(seen: Seen, begun: Engagement | None, moved_to: Sequence[Plan]) -> ExportedPlan:
    told = seen.snapshot.plan_version if seen.snapshot is not None else 0
    first = begun.plan.version if begun is not None else None
    version = told or (moved_to[-1].version if moved_to else first)
    known = [*reversed(moved_to), *([begun.plan] if begun is not None else [])]
    plan = next((one for one in known if one.version == version), None)
    text = json.loads(plan.model_dump_json()) if plan is not None else None
    return ExportedPlan(name=seen.row.plan, version=version, begun_with=first, text=text)


def _messages(seen: Seen, entries: Sequence[LedgerEntry], contents: Contents) -> Iterable[ExportedMessage]:
    """What the engagement meant to send, in its order, each with what ledger and provider know of it."""
    views = {send.key: send for send in seen.snapshot.sends} if seen.snapshot is not None else {}
    rows = {entry.key: entry for entry in entries}
    for key in dict.fromkeys([*views, *rows]):
        message = _message(views.get(key), rows.get(key))
        if message is not None:
            yield message.model_copy(update={"told": tuple(_told(message, contents.statuses))})


def _message(view: SendView | None, row: LedgerEntry | None) -> ExportedMessage | None:
    known: dict[str, object] = {}
    if row is not None:
        known = row.model_dump(include=set(ExportedMessage.model_fields))
    if view is not None:  # what the engagement itself knows goes first, unless it has lost it
        its = view.model_dump(include=set(ExportedMessage.model_fields))
        known |= {name: value for name, value in its.items() if value or name not in known}
        known |= {"state": view.send_state, "began_at": view.at}
    return ExportedMessage.model_validate(known) if known else None


def _told(message: ExportedMessage, statuses: Sequence[tuple[ProviderEvent, ExportedStatus]]) -> list[ExportedStatus]:
    def is_its(event: ProviderEvent) -> bool:
        ties = event.ties
        same = (
            (ties.message_id, message.message_id),
            (ties.run_id, message.run_id),
            (ties.reference, message.reference),
        )
        return event.send_key == message.key or (not event.send_key and any(a and a == b for a, b in same))

    return [status for event, status in statuses if is_its(event)]


def _actions(given: Sequence[OperatorAction], decisions: Sequence[Decision]) -> list[OperatorAction]:
    """Commands as the history has them; where it has none, what the decision log says of who did what."""

    def is_given(decision: Decision) -> bool:
        return any(one.actor == decision.actor and one.reason in decision.text for one in given)

    logged = [
        OperatorAction(at=one.at, what=one.rule, actor=one.actor, reason=one.text)
        for one in decisions
        if one.actor and not is_given(one)
    ]
    return sorted([*given, *logged], key=lambda action: action.at)


def _missing(seen: Seen, contents: Contents) -> Iterable[str]:
    yield from seen.notes
    if not seen.has_history and seen.row.erased_at is None:
        yield WITH_THE_HISTORY
    if seen.snapshot is None:
        yield "where it stands and its decision log: the engagement could not be asked"
    if contents.unreadable:
        yield f"{contents.unreadable} events of the history could not be opened: is a former master key not given here?"
