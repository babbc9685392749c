"""Health, readiness and metrics on the REST listener."""

from dataclasses import replace

import pytest
from fastapi import FastAPI, Request
from temporalio.client import Client
from temporalio.service import RetryConfig

from domain.errors import SetupError, StoreUnavailable
from gateway.process import Gateway, Ports
from store.inbox_tables import EventState
from store.stores import Stores
from tests.processes import free_ports
from tests.unit.gateway.world import (
    PHONE,
    FakeTemporal,
    World,
    as_json,
    finished,
    number,
    parts_of,
    running,
    until,
    wrote,
)


async def test_a_gateway_without_temporal_is_ready_and_says_so(stores: Stores, temporal: FakeTemporal) -> None:
    (port,) = free_ports(1)
    client = await Client.connect(f"127.0.0.1:{port}", lazy=True, retry_config=RetryConfig(max_elapsed_time_millis=200))
    async with running(replace(parts_of(stores, temporal), temporal=client)) as gateway:

        async def is_noticed() -> bool:
            ready = await gateway.client.get(f"{gateway.rest}/ready")
            assert ready.status_code == 200
            return as_json(ready)["temporal"] == "unreachable"

        async def told() -> str:
            return "nobody noticed that Temporal is not there"

        await until(is_noticed, told)
        health = await gateway.client.get(f"{gateway.rest}/health")
    assert (health.status_code, as_json(health)) == (200, {"status": "up"})


async def test_a_gateway_without_its_store_is_alive_and_not_ready(
    stores: Stores, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone() -> None:
        raise StoreUnavailable("the store is down")

    monkeypatch.setattr(stores.database, "ready", gone)
    async with running(parts_of(stores, temporal)) as gateway:
        ready = await gateway.client.get(f"{gateway.rest}/ready")
        health = await gateway.client.get(f"{gateway.rest}/health")
    assert (ready.status_code, as_json(ready)["store"]) == (503, "unreachable")
    assert health.status_code == 200


async def test_everything_else_on_the_listener_is_the_rest_application(stores: Stores, temporal: FakeTemporal) -> None:
    rest = FastAPI()

    @rest.get("/engagements")
    async def engagements() -> list[str]:
        return ["one"]

    async with running(replace(parts_of(stores, temporal), rest=rest)) as gateway:
        answer = await gateway.client.get(f"{gateway.rest}/engagements")
        webhook = await gateway.client.get(f"{gateway.webhooks}/metrics")
    assert answer.json() == ["one"]
    assert webhook.status_code == 404


async def test_a_callers_address_is_that_of_its_connection_whatever_it_says(
    stores: Stores, temporal: FakeTemporal
) -> None:
    """Failed tokens are counted by address: who could make one up would guess for ever."""
    rest = FastAPI()

    @rest.get("/address")
    async def address(request: Request) -> str:
        return request.client.host if request.client else ""

    said = {"x-forwarded-for": "10.9.8.7", "x-real-ip": "10.9.8.7", "forwarded": "for=10.9.8.7"}
    async with running(replace(parts_of(stores, temporal), rest=rest)) as gateway:
        answer = await gateway.client.get(f"{gateway.rest}/address", headers=said)
    assert answer.json() == "127.0.0.1"


async def test_metrics_tell_nothing_of_people(world: World, temporal: FakeTemporal) -> None:
    await world.sent("a-1", run_id="run-1")
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(finished("run-1:finished", run_id="run-1"), wrote("m-1", "my name is Ada", number(PHONE)))
        await gateway.client.post(f"{gateway.webhooks}/webhooks/plain/{PHONE}", content=b"")
        await world.until_states({EventState.RELAYED: 2})
        text = (await gateway.client.get(f"{gateway.rest}/metrics")).text
    assert "rapport_relay_seconds_count" in text
    assert "rapport_inbox_events" in text
    for secret in (PHONE, PHONE[1:], "Ada", "run-1", "a-1"):
        assert secret not in text


async def test_a_port_that_is_taken_is_told_before_anything_runs(stores: Stores, temporal: FakeTemporal) -> None:
    async with running(parts_of(stores, temporal)) as gateway:
        taken = Ports(webhook_port=gateway.ports.webhook_port)
        with pytest.raises(SetupError, match="in use"):
            await Gateway(replace(parts_of(stores, temporal), ports=taken)).run()
