"""A tenant's system tells by REST: one application, or a whole job."""

from collections.abc import AsyncIterator
from datetime import datetime

import httpx
import pytest
from fastapi import FastAPI

from domain.ats import AtsDeliveryState, AtsWord
from starter.routes import create_rest_app
from tests.unit.starter.test_rest import ACCESS, FOREIGNER, OPERATOR, READER, client_of, is_problem
from tests.unit.starter.world import NOW, World, request, service_on, worker

pytestmark = pytest.mark.server


@pytest.fixture
async def operator(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(_app(world), OPERATOR) as client:
        yield client


def _app(world: World) -> FastAPI:
    def clock() -> datetime:
        return NOW

    return create_rest_app(world.service, ACCESS, world.stores.idempotency, told=world.stores.told, clock=clock)


async def test_a_status_reaches_its_engagement_and_its_repeat_changes_nothing(
    world: World, operator: httpx.AsyncClient, temporal: str, ref: str
) -> None:
    await world.service.start(request(ref), NOW)
    body = {"status": "withdrawn", "reason": "took another job", "command_id": "ats-1"}
    async with worker(temporal):
        first = await operator.post(f"/v1/engagements/{ref}/ats-status", json=body)
        again = await operator.post(f"/v1/engagements/{ref}/ats-status", json=body)
    assert (first.status_code, first.json()) == (200, again.json())
    assert (first.json()["command"], first.json()["text"]) == ("ats-status withdrawn", "took another job")


@pytest.mark.parametrize(
    ("body", "status"), [({"status": "fired"}, 422), ({}, 422), ({"status": "hired", "job": "job-89"}, 422)]
)
async def test_what_makes_no_sense_is_refused_with_its_field(
    world: World, operator: httpx.AsyncClient, ref: str, body: dict[str, str], status: int
) -> None:
    await world.service.start(request(ref, job="job-88"), NOW)
    is_problem(await operator.post(f"/v1/engagements/{ref}/ats-status", json=body), status)


async def test_an_engagement_of_another_tenant_is_not_there(world: World, ref: str) -> None:
    await world.service.start(request(ref), NOW)
    for token, status in ((FOREIGNER, 404), (READER, 403)):
        async with client_of(_app(world), token) as client:
            answer = await client.post(f"/v1/engagements/{ref}/ats-status", json={"status": "hired"})
        is_problem(answer, status)


async def test_a_requisition_that_closed_is_recorded_before_it_is_answered(
    world: World, operator: httpx.AsyncClient
) -> None:
    body = {"reason": "filled", "command_id": "req-1"}
    first = await operator.post("/v1/requisitions/job-88/closed", json=body)
    again = await operator.post("/v1/requisitions/job-88/closed", json=body)
    assert (first.status_code, first.json()["recorded"], again.json()["recorded"]) == (202, True, False)
    (one,) = await world.stores.told.take(NOW, 10)
    assert one.telling is not None
    assert (one.tenant, one.telling.job, one.telling.actor) == ("acme", "job-88", "ats")
    assert one.telling.status is AtsWord.REQUISITION_CLOSED
    (shown,) = await world.stores.told.list("acme")
    assert shown.state is AtsDeliveryState.WAITING


async def test_the_open_engagements_of_a_job_are_those_that_hear(world: World, ref: str) -> None:
    for n, job in enumerate(["job-1", "job-2", "job-1"]):
        await world.service.start(request(f"{ref}-{n}", job=job), NOW)
    service = service_on(world.stores, world.client)
    found = await service.open_of_job("acme", "job-1", after="", limit=10)
    assert [reference for reference, _ in found] == [f"{ref}-0", f"{ref}-2"]
