"""The load, in a process of its own: ``python -m bench.load WANTED ANSWERS``.

Requests are written out before the clock starts and connections stay open, so that it takes little of the machine.
``WANTED`` is JSON as ``Wanted`` says, ``ANSWERS`` is written as ``Answers`` says.
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import uvloop

_PATIENCE = 30.0
"""Seconds to wait for the last answers."""


@dataclass(frozen=True)
class Wanted:
    """What to send. ``at`` are the seconds from the start at which each body is due; empty: as fast as answers come."""

    port: int
    path: str
    headers: dict[str, str]
    bodies: list[str]
    connections: int
    seconds: float
    at: list[float]


@dataclass(frozen=True)
class Answers:
    """What came back. Seconds count from ``began``, an instant of the wall clock; ``sent`` by number of the body."""

    began: float
    seconds: float
    statuses: dict[str, int]
    latencies: list[float]
    sent: dict[int, float]

    @property
    def kept(self) -> int:
        """How many were answered 200."""
        return self.statuses.get("200", 0)


class _Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, load: "_Load") -> None:
        self._load, self._received = load, b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Part of an answer came."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= _length(head):
            self._received = b""
            self._load.answered(self, int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        """The receiver closed it: the measurement is void."""
        self._load.lost()


class _Load:
    """Sends, and keeps when each answer came."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._requests = deque(enumerate(_written(wanted)))
        self._idle: deque[_Line] = deque()  # by turns: one that is idle for seconds is closed by its receiver
        self._waiting: deque[tuple[int, bytes, float]] = deque()
        self._due: dict[_Line, float] = {}
        self._ended = asyncio.Event()
        self._until = float("inf")
        self._open = 0
        self._statuses: dict[str, int] = {}
        self._latencies: list[float] = []
        self._sent: dict[int, float] = {}
        self._last = 0.0

    async def run(self) -> Answers:
        loop = asyncio.get_running_loop()
        for _ in range(self._wanted.connections):
            _, line = await loop.create_connection(lambda: _Line(self), "127.0.0.1", self._wanted.port)
            self._idle.append(line)
        began, self._wall = time.time(), time.perf_counter()
        if self._wanted.at:
            for due in self._wanted.at:
                loop.call_at(loop.time() + due, self._due_now)
        else:
            self._until = self._wanted.seconds
            idle, self._idle = self._idle, deque()
            for line in idle:
                self._send(line, *self._requests.popleft(), 0.0)
        await asyncio.wait_for(self._ended.wait(), self._wanted.seconds + _PATIENCE)
        return Answers(began, self._last, self._statuses, self._latencies, self._sent)

    def answered(self, line: _Line, status: int) -> None:
        now = self._now()
        self._open -= 1
        self._last = now
        self._latencies.append(now - self._due.pop(line))
        self._statuses[str(status)] = self._statuses.get(str(status), 0) + 1
        if self._wanted.at:
            self._next_due(line)
        elif now < self._until:
            if not self._requests:
                raise SystemExit("there were too few webhooks for the time: the measurement is void")
            self._send(line, *self._requests.popleft(), now)
        if self._open == 0 and (now >= self._until or (self._wanted.at and not self._requests)):
            self._ended.set()

    def lost(self) -> None:
        if not self._ended.is_set():
            sys.exit("the receiver closed a connection: the measurement is void")

    def _due_now(self) -> None:
        number, request = self._requests.popleft()
        if self._idle:
            self._send(self._idle.popleft(), number, request, self._now())
        else:
            self._waiting.append((number, request, self._now()))
            self._open += 1

    def _next_due(self, line: _Line) -> None:
        if self._waiting:
            self._open -= 1
            self._send(line, *self._waiting.popleft())
        else:
            self._idle.append(line)

    def _send(self, line: _Line, number: int, request: bytes, due: float) -> None:
        assert line.transport is not None  # noqa: S101 - it was opened
        self._open += 1
        self._due[line] = due
        self._sent[number] = self._now()
        line.transport.write(request)

    def _now(self) -> float:
        return time.perf_counter() - self._wall


def _written(wanted: Wanted) -> Sequence[bytes]:
    given = "".join(f"{name}: {value}\r\n" for name, value in wanted.headers.items())
    head = f"POST {wanted.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{given}content-length: "
    return [f"{head}{len(body.encode())}\r\n\r\n{body}".encode() for body in wanted.bodies]


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


def main(wanted: Path, answers: Path) -> None:
    """Send what one file wants and write the answers into the other."""
    found = uvloop.run(_Load(Wanted(**json.loads(wanted.read_text()))).run())
    answers.write_text(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
