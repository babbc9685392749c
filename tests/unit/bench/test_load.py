"""The load counts what it was answered, and is void when it could not do its work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.load import Wanted
from bench.processes import load

Answer = Callable[[bytes], Awaitable[bytes]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def receiver(answer: Answer) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                said = await answer(await reader.readexactly(length))
                if not said:
                    break
                writer.write(said)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def wanted(port: int, bodies: list[str], **more: object) -> Wanted:
    given: dict[str, object] = {"connections": 4, "seconds": 0.2, "at": [], **more}
    return Wanted(port=port, path="/", headers={"x": "y"}, bodies=bodies, **given)  # type: ignore[arg-type]  # as above


async def test_connections_take_turns_so_that_none_is_idle_until_its_receiver_closes_it(tmp_path: Path) -> None:
    """Receivers close what was idle for five seconds, uvicorn for one."""
    used: list[object] = []

    async def answer(_: bytes) -> bytes:
        used.append(asyncio.current_task())  # the task that serves its connection
        return OK

    async with receiver(answer) as port:
        await load(wanted(port, ["b"] * 8, at=[n * 0.05 for n in range(8)]), tmp_path)
    assert len(set(used)) == 4


async def test_due_requests_are_each_sent_once_at_their_time(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def answer(body: bytes) -> bytes:
        heard.append(body)
        return OK if body != b"2" else b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"

    async with receiver(answer) as port:
        answers = await load(wanted(port, ["0", "1", "2", "3"], at=[0.0, 0.05, 0.1, 0.3]), tmp_path)
    assert sorted(heard) == [b"0", b"1", b"2", b"3"]
    assert answers.statuses == {"200": 3, "503": 1}
    assert answers.kept == 3
    assert set(answers.sent) == {0, 1, 2, 3}
    assert answers.sent[3] - answers.sent[0] >= 0.25


async def test_who_waits_for_a_connection_waits_on_the_clock(tmp_path: Path) -> None:
    async def slow(_: bytes) -> bytes:
        await asyncio.sleep(0.1)
        return OK

    async with receiver(slow) as port:
        answers = await load(wanted(port, ["0", "1", "2"], at=[0.0, 0.0, 0.0], connections=1), tmp_path)
    assert max(answers.latencies) >= 0.28


async def test_as_many_as_are_answered_within_the_time(tmp_path: Path) -> None:
    async def answer(_: bytes) -> bytes:
        await asyncio.sleep(0.01)
        return OK

    async with receiver(answer) as port:
        answers = await load(wanted(port, ["b"] * 1000, seconds=0.3), tmp_path)
    assert 8 <= answers.kept <= 124
    assert answers.seconds >= 0.3


async def test_a_connection_that_is_closed_makes_it_void(tmp_path: Path) -> None:
    async def hang_up(_: bytes) -> bytes:
        return b""

    async with receiver(hang_up) as port:
        with pytest.raises(RuntimeError, match="closed a connection"):
            await load(wanted(port, ["b"] * 10), tmp_path)


async def test_too_few_requests_for_the_time_make_it_void(tmp_path: Path) -> None:
    async def answer(_: bytes) -> bytes:
        return OK

    async with receiver(answer) as port:
        with pytest.raises(RuntimeError, match="too few webhooks"):
            await load(wanted(port, ["b"] * 5, seconds=5), tmp_path)
