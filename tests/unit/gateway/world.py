"""A small world around a gateway: engagements with sends in a real store, a fake provider's reader, a fake Temporal."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
from fastapi import FastAPI

from domain.contacts import Alias, AliasKind, phone_alias
from domain.events import (
    EventBody,
    FlowRunChanged,
    FlowRunStatus,
    MessageStatus,
    MessageStatusChanged,
    OptOutReceived,
    ProviderEvent,
    ProviderEvents,
    TextReceived,
    Ties,
)
from domain.ids import engagement_workflow_id, send_key
from domain.plans import FlowRef, TemplateRef
from domain.sends import LedgerState, Send, SendClaim, SendReceipt
from gateway.process import Gateway, GatewayParts, Ports
from gateway.reading import Receiving
from gateway.relay import Handover
from store.inbox import Delivery
from store.inbox_review import InboxReview
from store.inbox_tables import EventState
from store.registry import EngagementRow
from store.stores import Stores
from tests.unit.gateway.plain_reader import SECRET, PlainReader

PHONE = "+31612345678"
ACCOUNT = "main"
LINE = "nl-1"
FOREVER = 60.0
"""Seconds after which a test stops waiting for what should have happened long ago."""


def now() -> datetime:
    return datetime.now(UTC)


class FakeTemporal:
    """Takes signals; engagements can be closed, can be made to fail, and can be made to hang."""

    def __init__(self) -> None:
        self.heard: dict[str, list[ProviderEvent]] = defaultdict(list)
        self.batches: list[tuple[str, int]] = []
        self.tries: dict[str, int] = defaultdict(int)
        self.endings: dict[str, Handover] = {}
        self.hanging: dict[str, asyncio.Event] = {}
        self.changed = asyncio.Condition()

    async def signal(self, workflow_id: str, events: ProviderEvents) -> Handover:
        self.tries[workflow_id] += 1
        if workflow_id in self.hanging:
            await self.hanging[workflow_id].wait()
        ending = self.endings.get(workflow_id, Handover.TAKEN)
        async with self.changed:
            if ending is Handover.TAKEN:
                self.heard[workflow_id] += events.events
                self.batches.append((workflow_id, len(events.events)))
            self.changed.notify_all()
        return ending

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(FOREVER), self.changed:
            await self.changed.wait_for(condition)

    def keys(self, workflow_id: str) -> list[str]:
        return [event.key for event in self.heard[workflow_id]]


class World:
    """Stores, and words to fill them with."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.review = InboxReview(stores.database, stores.keys)

    async def engaged(self, reference: str, phone: str = PHONE, line: str = LINE, account: str = ACCOUNT) -> str:
        """An open engagement with a person; returns its workflow id."""
        contact_id = await self.stores.contacts.resolve([phone_alias(phone)])
        workflow_id = engagement_workflow_id("acme", reference)
        row = EngagementRow(
            tenant="acme",
            reference=reference,
            workflow_id=workflow_id,
            contact_id=contact_id,
            line=line,
            account=account,
            provider="plain",
            plan="interview",
            fingerprints={"candidate": "f"},
            created_at=now(),
        )
        await self.stores.registry.register(row)
        return workflow_id

    async def claimed(
        self,
        workflow_id: str,
        phone: str = PHONE,
        *,
        n: int = 1,
        thread_id: str = "",
        line: str = LINE,
        account: str = ACCOUNT,
    ) -> SendClaim:
        """A send on its way: nobody knows its ids yet."""
        contact_id = await self.stores.contacts.find([phone_alias(phone)])
        send = Send(
            key=send_key(workflow_id, "opening", n),
            workflow_id=workflow_id,
            tenant="acme",
            account=account,
            line=line,
            step="opening",
            n=n,
            contact_id=contact_id or "",
            address=phone,
            thread_id=thread_id,
            template=TemplateRef(name="hello", language="nl"),
            flow=FlowRef(id="flow-1"),
            at=now(),
        )
        return await self.stores.ledger.claim(send)

    async def settled(self, claim: SendClaim, *, state: LedgerState = LedgerState.SENT, **ids: str) -> None:
        """The answer of a send was stored."""
        receipt = SendReceipt(
            reference=claim.names.reference,
            run_id=ids.get("run_id", ""),
            message_id=ids.get("message_id", ""),
            session_id=ids.get("session_id", ""),
            thread_id=ids.get("thread_id", ""),
        )
        await self.stores.ledger.settle(claim, state, receipt if state is LedgerState.SENT else None, None, now())

    async def sent(self, reference: str, phone: str = PHONE, thread_id: str = "", **ids: str) -> str:
        """An open engagement whose send has its ids; returns its workflow id."""
        workflow_id = await self.engaged(reference, phone)
        await self.settled(await self.claimed(workflow_id, phone, thread_id=thread_id), state=LedgerState.SENT, **ids)
        return workflow_id

    async def states(self) -> dict[EventState, int]:
        counts = await self.review.counts()
        return {state: many for state, many in counts.events.items() if many}

    async def until_states(self, wanted: dict[EventState, int]) -> None:
        await until(lambda: self._has(wanted), lambda: self._tell(wanted))

    async def until_read(self) -> None:
        await until(self._is_read, self._unread)

    async def _has(self, wanted: dict[EventState, int]) -> bool:
        return await self.states() == wanted

    async def _tell(self, wanted: dict[EventState, int]) -> str:
        return f"the inbox holds {await self.states()}, not {wanted}"

    async def _is_read(self) -> bool:
        return (await self.review.counts()).unread == 0

    async def _unread(self) -> str:
        return f"{(await self.review.counts()).unread} deliveries are unread"


async def until(condition: Callable[[], Awaitable[bool]], told: Callable[[], Awaitable[str]]) -> None:
    """Wait for a state of the store that nobody announces."""
    try:
        async with asyncio.timeout(FOREVER):
            while not await condition():  # noqa: ASYNC110 - a store has no event to wait for
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(await told()) from None


def event(key: str, body: EventBody, *sender: Alias, at: datetime | None = None, **ties: str) -> ProviderEvent:
    return ProviderEvent(key=key, occurred_at=at or now(), ties=Ties(**ties), sender=sender, body=body)


def finished(key: str, *sender: Alias, at: datetime | None = None, **ties: str) -> ProviderEvent:
    body = FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED, answers={"city": "Quito"})
    return event(key, body, *sender, at=at, **ties)


def delivered(key: str, **ties: str) -> ProviderEvent:
    return event(key, MessageStatusChanged(message_status=MessageStatus.DELIVERED), at=None, **ties)


def wrote(key: str, text: str, *sender: Alias, at: datetime | None = None, **ties: str) -> ProviderEvent:
    return event(key, TextReceived(text=text), *sender, at=at, **ties)


def stopped(key: str, *sender: Alias, at: datetime | None = None, **ties: str) -> ProviderEvent:
    return event(key, OptOutReceived(scope="line", text="STOP"), *sender, at=at, **ties)


def thread(thread_id: str) -> Alias:
    return Alias(kind=AliasKind.THREAD, value=thread_id, scope=ACCOUNT)


def number(phone: str) -> Alias:
    return phone_alias(phone)


def body_of(*events: ProviderEvent) -> bytes:
    return ProviderEvents(events=events).model_dump_json().encode()


def delivery(*events: ProviderEvent, account: str = ACCOUNT, at: datetime | None = None) -> Delivery:
    return Delivery("plain", account, body_of(*events), at or now())


def receiving(account: str = ACCOUNT, lines: Sequence[str] = (LINE,)) -> Receiving:
    return Receiving("plain", account, tuple(lines), PlainReader())


class Running:
    """A gateway that serves on real sockets, and a client of it."""

    def __init__(self, gateway: Gateway, ports: Ports, client: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.ports = ports
        self.client = client
        self.webhooks = f"http://127.0.0.1:{ports.webhook_port}"
        self.rest = f"http://127.0.0.1:{ports.rest_port}"

    async def post(self, *events: ProviderEvent, account: str = ACCOUNT) -> httpx.Response:
        return await self.post_raw(body_of(*events), account=account)

    async def post_raw(self, body: bytes, secret: str = SECRET, account: str = ACCOUNT) -> httpx.Response:
        url = f"{self.webhooks}/webhooks/plain/{account}"
        return await self.client.post(url, content=body, headers={"x-secret": secret})

    async def metric(self, name: str, **labels: str) -> float:
        """The value of one sample, 0 when it is not there."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in (await self.client.get(f"{self.rest}/metrics")).text.splitlines():
            if line.startswith(f"{name}{{") and all(part in line for part in wanted):
                return float(line.rsplit(" ", 1)[1])
        return 0.0


@asynccontextmanager
async def running(parts: GatewayParts) -> AsyncIterator[Running]:
    """A gateway while the block lasts; it must stop by itself when asked."""
    gateway = Gateway(parts)
    serving = asyncio.create_task(gateway.run())
    try:
        async with asyncio.timeout(FOREVER):
            await asyncio.wait((serving, gateway.started), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
        async with httpx.AsyncClient(timeout=FOREVER) as client:
            yield Running(gateway, gateway.started.result(), client)
    finally:
        gateway.stop()
        async with asyncio.timeout(FOREVER):
            await serving


def parts_of(stores: Stores, temporal: FakeTemporal, *accounts: Receiving) -> GatewayParts:
    rest = FastAPI()
    return GatewayParts(stores=stores, accounts=accounts or (receiving(),), rest=rest, signaller=temporal)


def later(seconds: float) -> datetime:
    return now() + timedelta(seconds=seconds)


def as_json(response: httpx.Response) -> dict[str, object]:
    said: dict[str, object] = json.loads(response.text)
    return said
