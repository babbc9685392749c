"""A crowd of engagements in the midst of their lives, made by thousands: rows as the store writes them, real workflows.

One is begun as every caller begins it. The others are its likeness, each with a person, a key, a conversation and
names of its own, written in few transactions; their workflows begin with the state that continue-as-new hands over.
"""

import asyncio
import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection, RowMapping, Table, insert, select
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.service import RPCError

from bench.ground import TENANT, Ground
from bench.webhooks import Talk
from bench.whole_life import request
from domain import names
from domain.contacts import Alias, AliasKind, phone_alias
from domain.engagements import Engagement
from domain.following import Following
from domain.ids import ENGAGEMENTS_QUEUE, engagement_workflow_id, send_key
from domain.send_record import SendRecord
from domain.sends import LedgerState, MessageThread, Send, SendReceipt
from domain.state import EngagementState, Stage
from store.candidate_keys import PREFIX, PURPOSE
from store.keys import KEY_BYTES, KeyRing
from store.stores import Stores
from store.tables import consents, contact_aliases, contacts, engagements, keys, sends
from workflows import search_attributes as found_by

OPENING: Final = "opening"
_EARLIER = timedelta(minutes=5)
_AT_ONCE = 1000
"""Engagements in one transaction."""
_STARTS_AT_ONCE = 24
_TRIES, _PAUSE = 10, 3.0
"""How often a start is asked for, and the seconds between."""

Rows = Mapping[Table, Sequence[Mapping[str, object]]]


@dataclass(frozen=True)
class Member:
    """One engagement: as its provider knows it, its input, and what it has done so far."""

    talk: Talk
    engagement: Engagement
    state: EngagementState


def reference(number: int) -> str:
    """What the caller calls an engagement."""
    return f"ref-{number}"


def phone(number: int) -> str:
    """Its person's number; none ends like that of a candidate who does something of their own."""
    return f"+3161{number:06d}0"


def talk_of(number: int, thread_id: str = "") -> Talk:
    """How its provider knows it."""
    return Talk(engagement_workflow_id(TENANT, reference(number)), thread_id or f"thr_{number}", f"run_{number}")


async def enrolled(
    ground: Ground, stores: Stores, client: Client, talks: Sequence[Talk], *, sent: bool
) -> list[Member]:
    """Write engagements into an empty store: with ``sent`` their flow has left, else they are about to send it.

    No worker may run yet: the first one is begun at Temporal, and ended there again.
    """
    now = datetime.now(UTC)
    first = await _first(ground, stores, client, talks[0])
    if sent:
        await _send(stores, first, talks[0], now - _EARLIER)
    pattern = await stores.database.read(lambda connection: _rows_of(connection, first.contact_id, talks[0]))
    members = [Member(talks[0], first, _carried(stores.keys, first, talks[0], sent=sent))]
    for begin in range(1, len(talks), _AT_ONCE):
        some = [
            (_like(first, number), talk) for number, talk in enumerate(talks[begin : begin + _AT_ONCE], start=begin)
        ]
        rows = _likeness(pattern, stores.keys, some)
        await stores.database.write(partial(_insert, rows=rows))
        members += [Member(talk, its, _carried(stores.keys, its, talk, sent=sent)) for its, talk in some]
    return members


async def begin(client: Client, members: Sequence[Member], *, later: timedelta | None = None) -> None:
    """Begin their workflows where they stand, or ``later``: until then Temporal has the run and a timer, as it has of
    one that waits, and no worker hears of it.
    """
    few = asyncio.Semaphore(_STARTS_AT_ONCE)

    async def start(member: Member) -> None:
        async with few:
            for left in reversed(range(_TRIES)):
                try:
                    await _start(client, member, later)
                except RPCError:  # a server that was given tens of thousands stands still for seconds now and then
                    if not left:
                        raise
                    await asyncio.sleep(_PAUSE)
                else:
                    return

    await asyncio.gather(*map(start, members))


async def _start(client: Client, member: Member, later: timedelta | None) -> None:
    await client.start_workflow(
        names.CANDIDATE_ENGAGEMENT,
        args=[member.engagement, member.state],
        id=member.talk.workflow_id,
        task_queue=ENGAGEMENTS_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=_attributes(member),
        start_delay=later,
    )


async def _first(ground: Ground, stores: Stores, client: Client, talk: Talk) -> Engagement:
    """Begin one as callers do, for what the service makes of the request; its workflow ends, to begin again later."""
    await ground.service(stores, client).start(request(reference(0), phone(0)), datetime.now(UTC))
    await client.get_workflow_handle(talk.workflow_id).terminate("it begins again with what it has done")
    found = await stores.registry.input_of(talk.workflow_id)
    if found is None:
        raise RuntimeError("the input of the first engagement was not kept")
    await stores.data_keys.key_for_workflow(talk.workflow_id)
    return found


async def _send(stores: Stores, engagement: Engagement, talk: Talk, at: datetime) -> None:
    opening = engagement.plan.opening
    send = Send(
        key=send_key(talk.workflow_id, OPENING, 1),
        workflow_id=talk.workflow_id,
        tenant=engagement.tenant,
        account=engagement.route.account,
        line=engagement.route.line,
        step=OPENING,
        n=1,
        contact_id=engagement.contact_id,
        address=engagement.candidate.phone,
        thread_id=talk.thread_id,
        template=opening.template,
        flow=opening.flow,
        at=at,
    )
    claim = await stores.ledger.claim(send)
    await stores.ledger.settle(claim, LedgerState.SENT, _receipt(stores.keys, talk), None, at)


def _receipt(ring: KeyRing, talk: Talk) -> SendReceipt:
    its = ring.send_names(send_key(talk.workflow_id, OPENING, 1))
    return SendReceipt(reference=its.reference, run_id=talk.run_id, thread_id=talk.thread_id)


def _like(first: Engagement, number: int) -> Engagement:
    candidate = first.candidate.model_copy(update={"phone": phone(number)})
    its = {"reference": reference(number), "contact_id": f"ct_{secrets.token_hex(16)}", "candidate": candidate}
    return first.model_copy(update=its)


def _carried(ring: KeyRing, engagement: Engagement, talk: Talk, *, sent: bool) -> EngagementState:
    """What a run of it that has come so far hands over to the next."""
    at = engagement.requested_at
    state = EngagementState(started_at=at, admitted=True, thread=MessageThread(thread_id=talk.thread_id))
    state.log(at, "admitted", f"plan {engagement.plan.name} on {engagement.route.line}")
    if sent:
        opening = engagement.plan.opening
        key, name = send_key(talk.workflow_id, OPENING, 1), opening.template.name
        record = SendRecord(key=key, step=OPENING, template=name, with_flow=opening.flow is not None, since=at)
        state.sends.append(record)
        state.mark_sent(record, _receipt(ring, talk), at)
        state.log(at, "sent", f"{OPENING} #1: taken by the provider")
    return state


def _rows_of(connection: Connection, contact_id: str, talk: Talk) -> dict[Table, list[RowMapping]]:
    """Every row that one engagement and its person have."""
    which = {
        consents: consents.c.contact_id == contact_id,
        engagements: engagements.c.workflow_id == talk.workflow_id,
        keys: keys.c.contact_id == contact_id,
        sends: sends.c.workflow_id == talk.workflow_id,
    }
    return {table: list(connection.execute(select(table).where(its)).mappings()) for table, its in which.items()}


def _likeness(
    pattern: Mapping[Table, Sequence[RowMapping]], ring: KeyRing, some: Sequence[tuple[Engagement, Talk]]
) -> Rows:
    """The rows of others like it."""
    now = datetime.now(UTC)
    rows: dict[Table, list[Mapping[str, object]]] = {
        table: [] for table in (contacts, contact_aliases, consents, engagements, keys, sends)
    }
    for its, talk in some:
        person = {"contact_id": its.contact_id}
        rows[contacts].append({"id": its.contact_id, "created_at": now})
        rows[contact_aliases] += [_alias_row(ring, alias, now) | person for alias in _aliases(its, talk, pattern)]
        rows[consents] += [{name: row[name] for name in row if name != "id"} | person for row in pattern[consents]]
        named = {"reference": its.reference, "workflow_id": talk.workflow_id}
        rows[engagements] += [dict(row) | named | person for row in pattern[engagements]]
        rows[keys] += [dict(row) | _fresh_key(ring) | person for row in pattern[keys]]
        rows[sends] += [dict(row) | _send_names(ring, talk) | person for row in pattern[sends]]
    return rows


def _aliases(its: Engagement, talk: Talk, pattern: Mapping[Table, Sequence[RowMapping]]) -> list[Alias]:
    thread = Alias(kind=AliasKind.THREAD, value=talk.thread_id, scope=its.route.account)
    return [phone_alias(its.candidate.phone), *([thread] if pattern[sends] else [])]


def _alias_row(ring: KeyRing, alias: Alias, now: datetime) -> dict[str, object]:
    digest = ring.alias_digest(alias)
    return {"digest": digest, "kind": alias.kind.value, "scope": alias.scope, "learned_at": now}


def _fresh_key(ring: KeyRing) -> dict[str, object]:
    key_id = PREFIX + base64.b32encode(secrets.token_bytes(16)).decode().lower().rstrip("=")
    return {"id": key_id, "wrapped": ring.seal(key_id.encode() + secrets.token_bytes(KEY_BYTES), PURPOSE)}


def _send_names(ring: KeyRing, talk: Talk) -> dict[str, object]:
    key = send_key(talk.workflow_id, OPENING, 1)
    ids = {"key": key, "workflow_id": talk.workflow_id, "run_id": talk.run_id, "thread_id": talk.thread_id}
    return ids | ring.send_names(key).model_dump()


def _insert(connection: Connection, rows: Rows) -> None:
    for table, some in rows.items():
        if some:
            connection.execute(insert(table), list(some))


def _attributes(member: Member) -> TypedSearchAttributes:
    """As a run has them that another one carried on."""
    its, state = member.engagement, member.state
    pairs: list[SearchAttributePair[str] | SearchAttributePair[bool] | SearchAttributePair[datetime]] = [
        SearchAttributePair(found_by.STAGE, Stage.ADMITTING.value),
        SearchAttributePair(found_by.TENANT, its.tenant),
        SearchAttributePair(found_by.LINE, its.route.line),
        SearchAttributePair(found_by.PROVIDER, its.route.provider),
        SearchAttributePair(found_by.PLAN, its.plan.name),
        SearchAttributePair(found_by.NEEDS_HUMAN, value=False),
    ]
    if state.sends:
        due = Following(its, state).next_move(state.started_at).at
        pairs[0] = SearchAttributePair(found_by.STAGE, Stage.AWAITING_ANSWER.value)
        pairs += [
            SearchAttributePair(found_by.NEXT_ACTION_AT, due),
            SearchAttributePair(found_by.WAITING_SINCE, state.started_at),
        ]
    return TypedSearchAttributes(pairs)
