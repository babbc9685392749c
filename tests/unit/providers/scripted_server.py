"""A real HTTP server on a free port of 127.0.0.1 that does to each request what the test says."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Reaction = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request that arrived whole, and the connection to react on."""

    head: str
    body: bytes
    writer: asyncio.StreamWriter
    over: asyncio.Event

    def header(self, name: str) -> str:
        lines = (line.partition(":") for line in self.head.split("\r\n")[1:])
        return next((value.strip() for key, _, value in lines if key.lower() == name), "")


@dataclass
class ScriptedServer:
    """Where it listens, and everything that it was asked."""

    port: int
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(*reactions: Reaction) -> AsyncIterator[ScriptedServer]:
    """Serve; the last reaction serves all further requests."""
    over = asyncio.Event()
    server_side = ScriptedServer(port=0)
    open_connections: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections[asyncio.current_task()] = writer
        try:
            while (exchange := await _read_request(reader, writer, over)) is not None:
                server_side.exchanges.append(exchange)
                await reactions[min(len(server_side.exchanges), len(reactions)) - 1](exchange)
                if writer.is_closing():
                    return
        except ConnectionError:
            pass  # the client went away, which some tests are about
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    server_side.port = server.sockets[0].getsockname()[1]
    try:
        yield server_side
    finally:
        over.set()
        server.close()
        for writer in open_connections.values():
            writer.close()
        await asyncio.gather(*(task for task in open_connections if task is not None))
        await server.wait_closed()


async def _read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, over: asyncio.Event
) -> Exchange | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    exchange = Exchange(head.removesuffix("\r\n\r\n"), b"", writer, over)
    exchange.body = await reader.readexactly(int(exchange.header("content-length") or 0))
    return exchange


def answers(status: int, body: bytes = b"", **headers: str) -> Reaction:
    """A whole answer. Header names are written with ``_`` for ``-``."""

    async def react(exchange: Exchange) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} Whatever\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
        exchange.writer.write(head.encode() + body)
        await exchange.writer.drain()

    return react


async def hangs_up(exchange: Exchange) -> None:
    """Take the whole request, then close without a word."""
    exchange.writer.close()


async def resets(exchange: Exchange) -> None:
    """Take the whole request, then reset the connection."""
    connection = exchange.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.writer.transport.abort()


async def answers_half(exchange: Exchange) -> None:
    """Promise more body than comes."""
    exchange.writer.write(b'HTTP/1.1 201 Created\r\ncontent-length: 1000\r\n\r\n{"data":{"id":"run-1"')
    await exchange.writer.drain()
    exchange.writer.close()


async def talks_nonsense(exchange: Exchange) -> None:
    """Answer in no protocol."""
    exchange.writer.write(b"220 mail ready\r\n\r\n")
    await exchange.writer.drain()
    exchange.writer.close()


async def stays_silent(exchange: Exchange) -> None:
    """Take the request and say nothing until the test is over."""
    await exchange.over.wait()
    exchange.writer.close()


async def trickles(exchange: Exchange) -> None:
    """Answer one byte at a time, for ever, each within any read timeout."""
    exchange.writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 1000000\r\n\r\n")
    while not exchange.over.is_set():
        exchange.writer.write(b" ")
        await exchange.writer.drain()
        await asyncio.sleep(0.01)  # the pace of the slow server, nothing waits for it
    exchange.writer.close()


@asynccontextmanager
async def accepting_in_silence() -> AsyncIterator[int]:
    """A port that accepts connections and never says or reads anything, as a TLS handshake meets it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def refusing_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
