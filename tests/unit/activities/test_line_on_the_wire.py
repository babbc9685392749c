"""A line's sends as the provider sees them: through the real client, over real sockets."""

import asyncio
import dataclasses
import json
from datetime import UTC, datetime

import httpx
from pydantic import SecretStr
from temporalio.testing import ActivityEnvironment

from activities.sends import SendActivities
from domain.pacing import MARGIN
from domain.ports import MessagingProvider
from domain.sends import LedgerState, SendReceipt
from providers.meta.client import MetaClient, meta_http
from providers.meta.settings import MetaSettings
from tests.unit.activities.test_sends_in_line import LINE, WHOLE, HoldsOnTheirWay, Ledger, send_of
from tests.unit.activities.windows import busiest
from tests.unit.providers.scripted_server import Exchange, Reaction, answers, serving
from tests.workflow.scripted import ScriptedProvider

GRANTED = 20
ACCEPTED = json.dumps({"messages": [{"id": "wamid.1"}]}).encode()


class SlowConnections(httpx.AsyncBaseTransport):
    """Real ones, of which the first few come about only when as many are asked for."""

    def __init__(self, few: int) -> None:
        self._wire, self._few, self._asked, self._there = httpx.AsyncHTTPTransport(), few, 0, asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Connect late, as to a provider whose handshakes are slow."""
        self._asked += 1
        if self._asked < self._few:
            await self._there.wait()
        self._there.set()
        return await self._wire.handle_async_request(request)

    async def aclose(self) -> None:
        """Give back connections."""
        await self._wire.aclose()


@dataclasses.dataclass(frozen=True)
class OnlyAccount:
    """A worker with one account."""

    only: MessagingProvider

    def provider(self, _account: str) -> MessagingProvider:
        """The one."""
        return self.only


class Wire:
    """A line of twenty a second, whose provider writes down when each request came and answers as told."""

    def __init__(self, answer: Reaction, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._answer, self._transport = answer, transport
        self.arrived: list[float] = []
        self.ledger = Ledger(ScriptedProvider())

    async def send(self, many: int) -> None:
        """Send so many, all at once."""
        async with serving(self._takes) as server:
            settings = MetaSettings(waba_id="102290000000001", verify_token="env:T")
            http = meta_http(LINE, server.url, SecretStr("token"), settings, transport=self._transport)
            client = MetaClient(LINE, http, settings, {LINE: "106540000000001"})
            sends = SendActivities(OnlyAccount(client), self.ledger, HoldsOnTheirWay())
            sends.space(LINE, GRANTED * MARGIN)
            await asyncio.gather(*(_attempt(sends, f"s-{n}") for n in range(many)))
            await client.close()

    async def _takes(self, exchange: Exchange) -> None:
        self.arrived.append(asyncio.get_running_loop().time())
        await self._answer(exchange)


async def _attempt(sends: SendActivities, key: str) -> SendReceipt:
    environment, now = ActivityEnvironment(), datetime.now(UTC)
    environment.info = dataclasses.replace(environment.info, started_time=now, start_to_close_timeout=WHOLE)
    receipt: SendReceipt = await environment.run(sends.send_message, send_of(key, now))
    return receipt


async def test_requests_that_were_held_up_by_their_connections_leave_no_room_for_others() -> None:
    wire = Wire(answers(200, ACCEPTED), SlowConnections(8))
    await wire.send(22)
    assert [state for _, state in wire.ledger.settled] == [LedgerState.SENT] * 22
    assert len(wire.arrived) == 22
    assert busiest(wire.arrived, 1.0) <= GRANTED


async def test_a_provider_that_takes_its_time_to_answer_slows_no_line_down() -> None:
    more_than_a_second_has = asyncio.Event()

    async def answers_late(exchange: Exchange) -> None:
        if len(wire.arrived) > GRANTED:
            more_than_a_second_has.set()
        await more_than_a_second_has.wait()
        await answers(200, ACCEPTED)(exchange)

    wire = Wire(answers_late, httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None)))
    await wire.send(GRANTED + 1)
    assert [state for _, state in wire.ledger.settled] == [LedgerState.SENT] * (GRANTED + 1)
