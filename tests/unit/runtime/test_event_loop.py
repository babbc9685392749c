"""The processes that carry load run on uvloop."""

import asyncio
from types import ModuleType

import pytest

from runtime import event_loop
from runtime.settings import Settings
from starter.cli.run import gateway as gateway_command
from starter.cli.run import worker as worker_command


@pytest.mark.parametrize(
    ("module", "process", "command"),
    [(worker_command, "run_worker", "worker"), (gateway_command, "serve_gateway", "gateway")],
)
def test_worker_and_gateway_run_on_uvloop(
    module: ModuleType, process: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = []

    async def note(_: Settings) -> None:
        loops.append(type(asyncio.get_running_loop()).__module__)

    monkeypatch.setattr(module, "load_settings", Settings)
    monkeypatch.setattr(module, process, note)
    getattr(module, command)()
    assert loops == ["uvloop"]


def test_what_the_main_coroutine_raises_comes_out() -> None:
    async def fail() -> None:
        raise LookupError("it is not there")

    with pytest.raises(LookupError, match="it is not there"):
        event_loop.run(fail())
