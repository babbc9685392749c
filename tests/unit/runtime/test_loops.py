"""Processes that serve run on uvloop, and otherwise as with ``asyncio.run``."""

import asyncio
import sys

import pytest
from runtime.loops import run


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not to be had on Windows")
def test_work_runs_on_uvloop() -> None:
    loops: list[str] = []

    async def work() -> None:
        loops.append(type(asyncio.get_running_loop()).__module__)

    run(work())
    assert loops == ["uvloop"]


def test_what_the_work_raises_comes_out() -> None:
    async def work() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        run(work())
