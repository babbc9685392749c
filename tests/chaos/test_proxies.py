"""The fault proxies pass what they should, cut what they should, and know what they carry."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.chaos.proxies import HOST, Cut, EngineProxy, Exchange, HttpProxy
from tests.chaos.wire import HttpMessage, Requests

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Watching:
    """A guard that keeps what it saw and cuts where it is told."""

    def __init__(self, cut: str = "") -> None:
        self.cut = cut
        self.seen: list[str] = []

    async def before(self, exchange: Exchange) -> None:
        self.seen.append(f"before {exchange.method} {exchange.path}")
        if self.cut == "before":
            raise Cut

    async def after(self, exchange: Exchange, answer: HttpMessage) -> None:
        self.seen.append(f"after {answer.words[1]}")
        if self.cut == "after":
            raise Cut


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(closing, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def between(guard: Watching, taken: list[bytes]) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    async with serving(answer) as port:
        proxy = HttpProxy([(0, port)], guard)
        await proxy.open()
        yield f"http://{HOST}:{proxy.port}/x?y=1"
        await proxy.close()


async def test_a_request_passes_as_it_is_and_its_answer_comes_back() -> None:
    guard, taken = Watching(), list[bytes]()
    async with between(guard, taken) as url, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(url)).text == "ok"
    assert taken[0].startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert guard.seen == ["before GET /x", "after 200"]


@pytest.mark.parametrize(("cut", "arrived"), [("before", 0), ("after", 1)])
async def test_a_cut_takes_the_answer_away_and_only_the_later_one_lets_the_request_through(
    cut: str, arrived: int
) -> None:
    taken: list[bytes] = []
    async with between(Watching(cut), taken) as url, httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(url)
    assert len(taken) == arrived


def frame(stream: int, payload: bytes, kind: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + stream.to_bytes(4, "big") + payload


def grpc(message: bytes, *, packed: bool) -> bytes:
    body = gzip.compress(message) if packed else message
    return bytes([packed]) + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_requests_are_read_out_of_any_pieces_packed_or_not(piece: int) -> None:
    long = grpc(b"provider-events" * 50, packed=False)
    stream = PREFACE + frame(1, b"headers", kind=1) + frame(1, grpc(b"poll", packed=True))
    stream += frame(3, long[:100]) + frame(5, grpc(b"other", packed=True)) + frame(3, long[100:])
    requests, found = Requests(), []
    for start in range(0, len(stream), piece):
        found += list(requests.feed(stream[start : start + piece]))
    assert found == [(1, b"poll"), (5, b"other"), (3, b"provider-events" * 50)]


async def test_an_answer_that_is_held_back_is_known_to_have_come_and_never_arrives() -> None:
    async def temporal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"signal")
        writer.write(frame(0, b"ping", kind=6) + frame(7, b"done", kind=1))
        await writer.drain()
        await reader.read()

    async with serving(temporal) as port:
        proxy = EngineProxy(port)
        await proxy.open()
        proxy.watch = lambda message: message == b"signal"
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        writer.write(PREFACE + frame(7, grpc(b"signal", packed=False)))
        await asyncio.wait_for(proxy.answered.wait(), 10)
        await proxy.cut_and_release()
        assert await reader.read() == b""
        writer.close()
        await proxy.close()


async def test_what_is_held_when_the_connection_is_cut_never_reaches_temporal() -> None:
    taken = asyncio.get_running_loop().create_future()

    async def temporal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set_result(await reader.read())

    async with serving(temporal) as port:
        proxy = EngineProxy(port)
        await proxy.open()
        proxy.hold_requests()
        seen = asyncio.Event()

        def notice(_: bytes) -> bool:
            seen.set()
            return False

        proxy.watch = notice
        _, writer = await asyncio.open_connection(HOST, proxy.port)
        writer.write(PREFACE + frame(1, grpc(b"report", packed=False)))
        await asyncio.wait_for(seen.wait(), 10)
        await proxy.cut_and_release()
        assert await asyncio.wait_for(taken, 10) == b""
        writer.close()
        await proxy.close()
