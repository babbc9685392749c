"""Who paces sends hears when a request was written: not before, and of nothing else."""

import asyncio

import httpx
import pytest
from pydantic import SecretStr

from domain import departures
from domain.errors import ProviderUnavailable
from providers.http import JsonBody, ProviderHttp, Request
from tests.unit.providers.scripted_server import Exchange, answers, refusing_port, serving

SEND = Request("trigger a flow", "POST", "/flow-runs", body=JsonBody({"to": "31600000001"}))
READ = Request("read a flow run", "GET", "/flow-runs/1")


class Departures:
    """What was heard."""

    def __init__(self) -> None:
        self.heard = 0
        self.any = asyncio.Event()

    def hears(self) -> None:
        """One more left."""
        self.heard += 1
        self.any.set()


class Detained(httpx.AsyncBaseTransport):
    """Connects only when it is let."""

    def __init__(self) -> None:
        self._wire, self.reached, self.let = httpx.AsyncHTTPTransport(), asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Late."""
        self.reached.set()
        await self.let.wait()
        return await self._wire.handle_async_request(request)

    async def aclose(self) -> None:
        """Give back connections."""
        await self._wire.aclose()


def http_to(url: str, transport: httpx.AsyncBaseTransport | None = None) -> ProviderHttp:
    return ProviderHttp("account acme", url, {"authorization": SecretStr("Bearer t")}, transport=transport)


async def test_a_send_is_heard_of_once_it_was_written_and_before_it_is_answered() -> None:
    left, answer = Departures(), asyncio.Event()

    async def takes_its_time(exchange: Exchange) -> None:
        await answer.wait()
        await answers(201)(exchange)

    detained = Detained()
    async with serving(takes_its_time) as server:
        http = http_to(server.url, detained)
        with departures.heard_by(left.hears):
            sending = asyncio.create_task(http.send(SEND))
        await detained.reached.wait()
        assert left.heard == 0
        detained.let.set()
        await asyncio.wait_for(left.any.wait(), 5)
        assert not sending.done()
        answer.set()
        await sending
        assert left.heard == 1
        await http.close()


async def test_a_read_is_not_heard_of_though_a_send_is_at_hand() -> None:
    left = Departures()
    async with serving(answers(200)) as server:
        http = http_to(server.url)
        with departures.heard_by(left.hears):
            await http.call(READ)
        await http.close()
    assert left.heard == 0


async def test_what_found_no_connection_was_never_written() -> None:
    left, http = Departures(), http_to(f"http://127.0.0.1:{refusing_port()}")
    with departures.heard_by(left.hears), pytest.raises(ProviderUnavailable):
        await http.send(SEND)
    await http.close()
    assert left.heard == 0


async def test_a_send_that_nobody_paces_is_made_as_ever() -> None:
    async with serving(answers(201)) as server:
        http = http_to(server.url)
        assert (await http.send(SEND)).status == 201
        await http.close()
