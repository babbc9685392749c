"""The dev server as a process: it starts, answers, keeps its data, and goes when we go."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from domain.errors import SetupError
from runtime.dev_server import DevServer, RunningServer, temporal_server
from runtime.serve_temporal import serve
from runtime.settings import Settings
from runtime.temporal import connect, ensure_search_attributes
from tests.unit.runtime.conftest import sealing_plugin
from workflows.search_attributes import ALL

pytestmark = pytest.mark.server
ROOT = Path(__file__).resolve().parents[3]
STAGE = SearchAttributeKey.for_keyword("EngagementStage")
DUE = SearchAttributeKey.for_datetime("NextActionAt")


async def start_unworked(client: Client, workflow_id: str) -> None:
    """A workflow that nobody works on: it stays open."""
    await client.start_workflow("nobody", id=workflow_id, task_queue="nobody")


async def test_it_serves_with_ui_and_search_attributes_and_stops() -> None:
    async with await DevServer.start(ui=True, search_attributes=[STAGE, DUE]) as server:
        client = await connect(sealing_plugin(), address=server.address)
        await ensure_search_attributes(client, [STAGE, DUE])
        assert server.ui_url is not None
        host, port = server.ui_url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        await writer.wait_closed()
        assert is_alive(server.pid)

    assert not is_alive(server.pid)
    assert not server.log.exists()


async def test_data_in_a_file_survive_kill_9(tmp_path: Path) -> None:
    data = tmp_path / "state" / "temporal.sqlite3"
    first = await DevServer.start(data=data)
    await start_unworked(await connect(sealing_plugin(), address=first.address), "kept")
    os.kill(first.pid, signal.SIGKILL)
    await first.ended()
    await first.stop()

    async with await DevServer.start(data=data) as second:
        client = await connect(sealing_plugin(), address=second.address)
        description = await client.get_workflow_handle("kept").describe()

    assert description.id == "kept"
    assert description.close_time is None


async def test_missing_search_attributes_are_added_to_a_server_that_runs_already() -> None:
    async with await DevServer.start() as server:
        client = await connect(sealing_plugin(), address=server.address)
        await ensure_search_attributes(client, [STAGE, DUE])
        await ensure_search_attributes(client, [STAGE, DUE])
        with pytest.raises(SetupError, match="EngagementStage is not a Bool there"):
            await ensure_search_attributes(client, [SearchAttributeKey.for_bool("EngagementStage")])


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="unknown flag: --no-such-flag"):
        await DevServer.start(extra=["--no-such-flag"])


async def test_a_port_that_is_taken_is_told_not_replaced() -> None:
    async with await DevServer.start() as server:
        port = int(server.address.rsplit(":", 1)[1])
        with pytest.raises(SetupError, match=f"port {port} of 127.0.0.1 cannot be used"):
            await DevServer.start(port=port)


async def test_a_program_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be started"):
        await DevServer.start(binary=tmp_path / "nothing")


def test_it_goes_when_its_starter_is_killed(tmp_path: Path) -> None:
    code = (
        "import asyncio\nfrom runtime.dev_server import DevServer\n"
        "async def main():\n    server = await DevServer.start()\n"
        "    print(server.pid, server.log, flush=True)\n    await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    with starter:
        assert starter.stdout is not None
        pid, log = starter.stdout.readline().split()
        assert is_alive(int(pid))
        starter.kill()

    until(lambda: not is_alive(int(pid)) and not Path(log).exists())


async def test_a_server_that_the_environment_names_is_used_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")

    async with temporal_server(ui=True) as server:
        assert server == RunningServer(address=None, ui_url=None)


async def test_without_a_named_server_one_of_ours_runs_as_long_as_it_is_needed() -> None:
    async with temporal_server() as server:
        assert server.address is not None
        await connect(sealing_plugin(), address=server.address)

    with pytest.raises(SetupError, match="no Temporal server answers"):
        await connect(sealing_plugin(), address=server.address)


async def test_a_developers_server_runs_until_it_is_ended_and_keeps_its_data(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    port, ui_port = free_port(), free_port()
    serving = asyncio.create_task(serve(settings, port, ui_port))
    address = f"127.0.0.1:{port}"
    while True:
        assert not serving.done()
        try:
            client = await connect(sealing_plugin(), address=address)
            break
        except SetupError:
            await asyncio.sleep(0.05)
    await ensure_search_attributes(client, ALL)

    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving

    assert (tmp_path / "temporal.sqlite3").exists()
    with pytest.raises(SetupError, match="no Temporal server answers"):
        await connect(sealing_plugin(), address=address)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def until(holds: Callable[[], bool]) -> None:
    """Wait for another process; the test's own time limit ends it."""
    pause = subprocess.run(["sleep", "0.02"], check=True)
    while not holds():
        pause = subprocess.run(["sleep", "0.02"], check=True)
    assert pause.returncode == 0
