"""The fault proxies: every connection between the processes of a chaos run passes through one of them.

They know what passes, so a kill can wait for its barrier; the product knows nothing of them.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.chaos.wire import Frames, HttpMessage, NotHttp, Requests, read_message

HOST = "127.0.0.1"


class Cut(Exception):
    """Raised by a guard: the connection ends here, without an answer."""


@dataclass(frozen=True)
class Exchange:
    """A request on its way. ``member`` is the process of ours that sent it or is to take it."""

    request: HttpMessage
    member: int

    @property
    def method(self) -> str:
        """GET, POST …"""
        return self.request.words[0]

    @property
    def path(self) -> str:
        """Without the query."""
        return self.request.words[1].partition("?")[0]


class Guard(Protocol):
    """Looks at everything that passes; may wait, and may raise ``Cut``."""

    async def before(self, exchange: Exchange) -> None:
        """The whole request is here and nothing of it was forwarded."""
        ...

    async def after(self, exchange: Exchange, answer: HttpMessage) -> None:
        """The whole answer is here and nothing of it was handed back."""
        ...


class _Listening:
    """A server on a port of its own, with the connections that it has."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Sequence[asyncio.StreamWriter]] = {}
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, HOST, 0, limit=4 * 1024 * 1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take no more connections and end those that are there."""
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """End every connection; what was not forwarded never is."""
        tasks = [task for task in self._connections if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = (writer,)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            del self._connections[task]
            _drop(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class HttpProxy(_Listening):
    """Between a client and HTTP servers, each a number and its port: they take turns, without those that are down."""

    def __init__(self, upstreams: Sequence[tuple[int, int]], guard: Guard) -> None:
        super().__init__()
        self._upstreams, self._guard = upstreams, guard
        self._turn = 0
        self.passed = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (request := await read_message(reader)) is not None:
            try:
                answer = await self._exchange(request)
            except (Cut, OSError, NotHttp):
                return
            if answer is None:
                return
            writer.write(answer.raw)
            await writer.drain()
            self.passed += 1

    async def _exchange(self, request: HttpMessage) -> HttpMessage | None:
        choices = self._upstreams
        self._turn += 1
        for n in range(len(choices)):
            member, port = choices[(self._turn + n) % len(choices)]
            try:
                # one connection for each request: a server's idle limit is no fault of the network
                up_reader, up_writer = await asyncio.open_connection(HOST, port, limit=4 * 1024 * 1024)
            except OSError:
                continue
            exchange = Exchange(request, member)
            try:
                await self._guard.before(exchange)
                up_writer.write(request.raw)
                answer = await read_message(up_reader)
                if answer is not None:
                    await self._guard.after(exchange, answer)
                return answer
            finally:
                _drop(up_writer)
        return None


class EngineProxy(_Listening):
    """Between a process of ours and Temporal: can hold either direction, and tells what is asked."""

    def __init__(self, port_of_temporal: int) -> None:
        super().__init__()
        self._upstream = port_of_temporal
        self._up, self._down = asyncio.Event(), asyncio.Event()
        self.release()
        self.watch: Callable[[bytes], bool] | None = None
        """Sees each request before it is forwarded; True holds back all answers from then on."""
        self.answered = asyncio.Event()
        """Temporal has answered the request that ``watch`` chose."""
        self._chosen = 0

    def hold_requests(self) -> None:
        """Nothing goes to Temporal any more."""
        self._up.clear()

    def release(self) -> None:
        """Both directions are open."""
        self._up.set()
        self._down.set()

    async def cut_and_release(self) -> None:
        """End every connection with what it held, and let new ones pass."""
        self.watch = None
        await self.cut()
        self.answered.clear()
        self._chosen = 0
        self.release()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(HOST, self._upstream)
        pumps = (
            asyncio.create_task(self._requests(reader, up_writer)),
            asyncio.create_task(self._answers(up_reader, writer)),
        )
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            _drop(up_writer)  # before the wait: a second cut may end that
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _requests(self, reader: asyncio.StreamReader, up: asyncio.StreamWriter) -> None:
        requests = Requests()
        while data := await reader.read(65536):
            for stream, message in requests.feed(data):
                if self.watch is not None and self._chosen == 0 and self.watch(message):
                    self._chosen = stream
                    self._down.clear()
            await self._up.wait()
            up.write(data)
            await up.drain()

    async def _answers(self, up: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames(from_client=False)
        while data := await up.read(65536):
            if any(frame.stream == self._chosen for frame in frames.feed(data) if self._chosen):
                self.answered.set()
            if self._down.is_set():
                writer.write(data)
                await writer.drain()
            # else it is on its way for ever: whoever holds answers back kills who waits for them


def _drop(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(RuntimeError):
        writer.close()
