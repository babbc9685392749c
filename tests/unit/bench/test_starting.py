"""What counts as started, and what is made of a clone."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import phonenumbers
import pytest

from bench import starting
from bench.depth import FULL, QUICK
from bench.figures import Verdict
from bench.starting import OURS, SAMPLES, Begun, Call, Part, measured, of_a_clone, report
from tests.processes import ProcessFailed, bare_environment, free_ports

BEGUN = Begun(worker=2.0, receiver=3.0, worker_cpu=1.5, receiver_cpu=2.0, send=3.5)
SEEN = {OURS: [BEGUN], SAMPLES: [BEGUN]}
MAKEFILE = "setup server demo test:\n\t@echo $@$$VIRTUAL_ENV$$UV_INDEX_URL >> $(CURDIR)/../made\n"


def part(port: int) -> Part:
    """A process that is ready soon, and takes nothing."""
    words = ["http.server", str(port), "--bind", "127.0.0.1"]
    return Part(f"p{port}", words, "Serving HTTP", {"PYTHONUNBUFFERED": "1"})


@asynccontextmanager
async def somebody(calls: list[dict[str, str]]) -> AsyncIterator[tuple[int, list[str]]]:
    """Takes every request, and tells of ``calls`` when it is asked a second time. Yields its port and what came."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 1)[0])
        body = json.dumps({"calls": calls if asked.count("GET") > 1 else []})
        head = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(f"{head}{body}".encode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked


async def test_it_asks_until_it_is_taken_and_ends_with_the_message_that_the_provider_took(tmp_path: Path) -> None:
    worker, receiver = map(part, free_ports(2))
    began, sent = time.time(), time.time() + 60
    async with somebody([{"at": datetime.fromtimestamp(sent, UTC).isoformat()}]) as (port, asked):
        call = Call(f"http://127.0.0.1:{port}/engagements", {}, "")
        seen = await measured(worker, receiver, call, f"http://127.0.0.1:{port}", tmp_path)
    assert asked == ["POST", "GET", "GET"]
    assert 0 < seen.send <= sent - began
    assert min(seen.worker, seen.receiver, seen.worker_cpu, seen.receiver_cpu) > 0


async def test_what_is_refused_is_not_asked_for_again(tmp_path: Path) -> None:
    port, one, other = free_ports(3)
    call = Call(f"http://127.0.0.1:{port}/engagements", {}, "")
    with pytest.raises(httpx.HTTPStatusError, match="501"):
        await measured(part(port), part(other), call, f"http://127.0.0.1:{one}", tmp_path)


def repository(directory: Path, makefile: str) -> Path:
    directory.mkdir()
    (directory / "Makefile").write_text(makefile)
    git = shutil.which("git") or "git"
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "Makefile"], [*who, "commit", "--quiet", "--message", "all"]):
        subprocess.run([git, *words], cwd=directory, env=bare_environment(), check=True)
    return directory


def test_a_clone_is_set_up_before_its_demo_and_its_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "ROOT", repository(tmp_path / "ours", MAKEFILE))
    monkeypatch.setenv("VIRTUAL_ENV", "-of-this-run")
    monkeypatch.setenv("UV_INDEX_URL", "-by-the-mirror")
    took, why = of_a_clone(tmp_path, lambda _: None)
    assert list(took) == ["setup", "server", "demo", "test"]
    assert (tmp_path / "made").read_text().split() == [f"{target}-by-the-mirror" for target in took]
    assert min(took.values()) > 0
    assert "committed" in why


def test_a_demo_that_fails_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    makefile = MAKEFILE.replace("@echo", "@test $@ != demo && echo")
    monkeypatch.setattr(starting, "ROOT", repository(tmp_path / "ours", makefile))
    with pytest.raises(ProcessFailed, match="make demo"):
        of_a_clone(tmp_path, lambda _: None)


def test_where_there_is_no_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "ROOT", tmp_path)
    took, why = of_a_clone(tmp_path, lambda _: None)
    assert took == {}
    assert "left out" in why


def test_what_was_left_out_is_told_and_tests_that_take_too_long_miss_the_goal() -> None:
    quick = report(QUICK, SEEN, {}, "make demo and make test are left out")
    assert (quick.verdict, quick.conditions[-1]) == (Verdict.SHOWN, "make demo and make test are left out")
    assert report(FULL, SEEN, {"demo": 60.0, "test": 899.0}, "a clone").verdict is Verdict.MET
    assert report(FULL, SEEN, {"demo": 60.0, "test": 901.0}, "a clone").verdict is Verdict.MISSED


def test_each_round_asks_for_somebody_else_with_a_number_that_can_be_called() -> None:
    asked = [starting.phone(number) for number in range(FULL.rounds)]
    assert len(set(asked)) == FULL.rounds, "else the simulated provider gives a conversation an id that Temporal has"
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(one)) for one in asked)
