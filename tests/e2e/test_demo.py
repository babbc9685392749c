"""What README promises: one command carries everybody to the right end, also when the worker is killed."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)

CANDIDATES = 28


@asynccontextmanager
async def demo(directory: Path, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``rapport demo`` off a terminal, with a state directory of its own; whatever happens, it is ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "starter.cli",
        "demo",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "RAPPORT_STATE_DIR": str(directory), "COLUMNS": "160"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await process.wait()


async def read_until(process: asyncio.subprocess.Process, pattern: str) -> re.Match[str]:
    """Read the demo's lines up to the one that fits."""
    assert process.stdout is not None
    said = []
    while line := (await process.stdout.readline()).decode():
        said.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"the demo never said {pattern!r}:\n{''.join(said)}")


async def test_the_demo_carries_everybody_to_the_right_end_though_the_worker_is_killed(tmp_path: Path) -> None:
    async with demo(tmp_path, "--limit", "150") as process:
        worker = int((await read_until(process, r"worker \(pid (\d+)\)")).group(1))
        await read_until(process, rf"{CANDIDATES} engagements started")
        os.kill(worker, signal.SIGKILL)
        said, _ = await process.communicate()
    text = said.decode()
    assert process.returncode == 0, text
    assert "the worker died and was started again" in text
    assert text.count(" yes ") == CANDIDATES
    assert re.search(r"[1-7] waited and went on; the provider says APPROVED", text), text
    assert "NO, " not in text
    assert "Follow-up 1 of 2 was skipped: the candidate wrote or answered meanwhile." in text


async def test_the_demo_fails_when_an_end_is_missing_and_leaves_no_process_behind(tmp_path: Path) -> None:
    async with demo(tmp_path, "--limit", "0.5") as process:
        said = (await process.communicate())[0].decode()
    assert process.returncode == 1, said
    assert "not as expected" in said
    pids = [int(pid) for pid in re.findall(r"\(pid (\d+)\)", said)]
    assert len(pids) == 4
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
