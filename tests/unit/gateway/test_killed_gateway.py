"""A gateway that is killed loses nothing that it took; one that is asked to stop finishes what it has in hand."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from gateway.process import GatewayParts
from store.stores import Stores
from tests.unit.gateway.plain_reader import SECRET
from tests.unit.gateway.world import FOREVER, FakeTemporal, World, body_of, finished, now, parts_of, running

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def gateway(url: str, log: Path, die_at: str = "never") -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    """A gateway process and its webhook port."""
    errors = log.with_suffix(".stderr")
    with errors.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.unit.gateway.gateway_process", url, str(log), die_at),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(FOREVER):
            ports = (await process.stdout.readline()).split()
        assert ports, f"the gateway did not start: {errors.read_text()[-2000:]}"
        yield int(ports[0]), process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def post(client: httpx.AsyncClient, port: int, key: str) -> int:
    answer = await client.post(
        f"http://127.0.0.1:{port}/webhooks/plain/main",
        content=body_of(finished(key, run_id="run-1")),
        headers={"x-secret": SECRET},
    )
    return answer.status_code


def taken(log: Path) -> list[str]:
    return log.read_text().split()[1::2] if log.exists() else []


def after_all_leases(stores: Stores, temporal: FakeTemporal) -> GatewayParts:
    """The next gateway, whose clock is past every lease that a dead one held."""
    return replace(parts_of(stores, temporal), clock=lambda: now() + timedelta(minutes=2))


@pytest.mark.parametrize("die_at", ["committed", "claimed", "placed", "signalled"])
async def test_a_gateway_killed_at_any_point_loses_nothing(
    stores: Stores, sqlite_url: str, tmp_path: Path, temporal: FakeTemporal, die_at: str
) -> None:
    workflow = await World(stores).sent("a-1", run_id="run-1")
    log = tmp_path / "signals"
    async with gateway(sqlite_url, log, die_at) as (port, process), httpx.AsyncClient(timeout=FOREVER) as client:
        try:
            assert await post(client, port, "answer") == 200
            assert die_at != "committed"
        except httpx.TransportError:
            assert die_at in ("committed", "claimed", "placed", "signalled")  # killed before the answer got out
        async with asyncio.timeout(FOREVER):
            assert await process.wait() == -signal.SIGKILL
    async with running(after_all_leases(stores, temporal)):
        await temporal.until(lambda: bool(temporal.heard))
    assert {workflow: temporal.keys(workflow) for workflow in temporal.heard} == {workflow: ["answer"]}
    assert len(taken(log)) == (1 if die_at == "signalled" else 0)


async def test_a_gateway_that_is_asked_to_stop_ends_well(
    stores: Stores, sqlite_url: str, tmp_path: Path, temporal: FakeTemporal
) -> None:
    workflow = await World(stores).sent("a-1", run_id="run-1")
    log = tmp_path / "signals"
    async with gateway(sqlite_url, log) as (port, process), httpx.AsyncClient(timeout=FOREVER) as client:
        statuses = await asyncio.gather(*(post(client, port, f"e-{n}") for n in range(20)))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(FOREVER):
            assert await process.wait() == 0
    assert statuses == [200] * 20
    async with running(after_all_leases(stores, temporal)):
        names = {f"e-{n}" for n in range(20)}
        await temporal.until(lambda: names == {*taken(log), *temporal.keys(workflow)})
