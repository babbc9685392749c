"""A tenant's system on a real socket: what is believed, what is kept, and that it is carried out at least once."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import JsonValue, SecretStr
from standardwebhooks import Webhook

from domain.ats import AtsDelivery, AtsDeliveryState, AtsStatus, AtsTelling, AtsWord
from domain.calls import CommandResult
from domain.errors import BadInput, EngineUnavailable, Mistake, NotAllowed, NotFound, StoreUnavailable
from gateway.ats import PAGE, AtsParts, AtsWork
from gateway.metrics import GatewayMetrics
from gateway.process import GatewayParts
from providers.ats.inbound import AtsReader
from store.stores import Stores
from tests.unit.gateway.world import FakeTemporal, Running, now, parts_of, running

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FOREVER = 20


@dataclass
class Desk:
    """Engagements that note what they hear. ``failures`` are raised first, by reference."""

    jobs: dict[str, list[str]] = field(default_factory=dict)
    failures: dict[str, list[Exception]] = field(default_factory=dict)
    heard: list[AtsStatus] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)

    async def ats_status(self, tenant: str, reference: str, command: AtsStatus) -> CommandResult:
        waiting = self.failures.get(reference)
        if waiting:
            raise waiting.pop(0)
        self.heard.append(command)
        self.by[reference] += 1
        return CommandResult(
            command_id=command.command_id, command="ats-status", accepted=True, text="", at=datetime.now(UTC)
        )

    async def open_of_job(self, tenant: str, job: str, *, after: str, limit: int) -> Sequence[tuple[str, str]]:
        found = [one for one in self.jobs.get(job, []) if one > after]
        return [(one, one) for one in found[:limit]]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def parts(stores: Stores, temporal: FakeTemporal, desk: Desk) -> GatewayParts:
    return replace(parts_of(stores, temporal), ats=AtsParts({"acme": AtsReader("acme", [SecretStr(KEY)])}, desk))


def status(reference: str, word: str = "hired", **more: JsonValue) -> dict[str, JsonValue]:
    return {"type": "engagement.status", "data": {"reference": reference, "status": word, **more}}


async def tell(
    gateway: Running, message: dict[str, JsonValue], *, message_id: str = "m-1", key: str = KEY, tenant: str = "acme"
) -> httpx.Response:
    body, at = json.dumps(message), datetime.now(UTC)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(key).sign(message_id, at, body),
    }
    return await gateway.client.post(f"{gateway.webhooks}/webhooks/ats/{tenant}", content=body, headers=headers)


async def settled(stores: Stores, count: int = 1) -> tuple[AtsDelivery, ...]:
    """The deliveries once so many were carried out, oldest first."""
    async with asyncio.timeout(FOREVER):
        while True:
            found = await stores.told.list("acme")
            if sum(one.state is not AtsDeliveryState.WAITING for one in found) >= count:
                return tuple(reversed(found))
            await asyncio.sleep(0.02)


async def test_a_status_is_kept_answered_and_carried_out_once_however_often_it_comes(
    parts: GatewayParts, desk: Desk
) -> None:
    async with running(parts) as gateway:
        answers = [await tell(gateway, status("app-1", reason="signed")) for _ in range(3)]
        (one,) = await settled(parts.stores)
        kept = await gateway.metric("rapport_webhooks_total", provider="ats", account="acme", verdict="kept")
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert (one.state, one.status, one.reference, one.reached) == (AtsDeliveryState.DONE, "hired", "app-1", 1)
    assert [(told.status, told.reason, told.actor) for told in desk.heard] == [(AtsWord.HIRED, "signed", "ats of acme")]
    assert kept == 3


@pytest.mark.parametrize("key", ["whsec_" + "B" * 32])
async def test_a_wrong_signature_gets_401_and_leaves_no_trace_but_a_count(parts: GatewayParts, key: str) -> None:
    async with running(parts) as gateway:
        answer = await tell(gateway, status("app-1"), key=key)
        bare = await gateway.client.post(f"{gateway.webhooks}/webhooks/ats/acme", content=b"{}")
        elsewhere = await tell(gateway, status("app-1"), tenant="globex")
        refused = await gateway.metric("rapport_webhooks_total", provider="ats", account="acme", verdict="refused")
    assert (answer.status_code, bare.status_code, elsewhere.status_code) == (401, 401, 404)
    assert refused == 2
    assert await parts.stores.told.list("acme") == ()


async def test_what_cannot_be_kept_is_answered_503_so_that_it_comes_again(
    parts: GatewayParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_told: object) -> bool:
        raise StoreUnavailable("the disk is full")

    async with running(parts) as gateway:
        monkeypatch.setattr(parts.stores.told, "keep", down)
        answer = await tell(gateway, status("app-1"))
    assert answer.status_code == 503


async def test_what_finds_no_engagement_or_one_that_is_over_stays_visible(parts: GatewayParts, desk: Desk) -> None:
    desk.failures = {
        "gone": [NotFound("tenant acme has no engagement gone")],
        "over": [NotAllowed("the engagement is over")],
        "other": [BadInput([Mistake("is another job", field="job")])],
    }
    async with running(parts) as gateway:
        for n, reference in enumerate(desk.failures):
            await tell(gateway, status(reference), message_id=f"m-{n}")
        await tell(gateway, {"type": "candidate.created", "data": {}}, message_id="m-8")
        await tell(gateway, {"type": "engagement.status", "data": {}}, message_id="m-9")
        found = await settled(parts.stores, 5)
    states = AtsDeliveryState
    assert [one.state for one in found] == [
        states.UNMATCHED,
        states.LATE,
        states.UNMATCHED,
        states.IGNORED,
        states.UNREADABLE,
    ]
    assert desk.heard == []


async def test_a_requisition_that_closes_reaches_every_open_engagement_of_the_job(
    parts: GatewayParts, desk: Desk
) -> None:
    desk.jobs = {"job-88": [f"a-{n:04}" for n in range(2 * PAGE + 7)], "job-89": ["b-1"]}
    desk.failures = {"a-0003": [NotAllowed("it has just ended")]}
    async with running(parts) as gateway:
        await tell(gateway, {"type": "requisition.closed", "data": {"job": "job-88"}})
        (one,) = await settled(parts.stores)
    assert (one.state, one.job, one.reached) == (AtsDeliveryState.DONE, "job-88", 2 * PAGE + 6)
    assert set(desk.by) == set(desk.jobs["job-88"]) - {"a-0003"}
    assert {told.status for told in desk.heard} == {AtsWord.REQUISITION_CLOSED}


async def test_an_outage_in_the_middle_loses_nobody_and_the_work_goes_on_where_it_was(
    stores: Stores, desk: Desk
) -> None:
    desk.jobs = {"job-88": [f"a-{n:04}" for n in range(PAGE + 20)]}
    desk.failures = {f"a-{PAGE + 10:04}": [EngineUnavailable("no worker answered")]}
    clock = [now()]
    work = AtsWork(
        AtsParts({}, desk),
        stores.told,
        metrics=GatewayMetrics(CollectorRegistry()),
        clock=lambda: clock[0],
    )
    telling = AtsTelling(status=AtsWord.REQUISITION_CLOSED, job="job-88", reason="filled", actor="ats")
    await stores.told.tell("acme", "m-1", telling, clock[0])
    await work.round()
    (waiting,) = await stores.told.list("acme")
    assert (waiting.state, waiting.failures) == (AtsDeliveryState.WAITING, 1)
    clock[0] = await stores.told.next_due() or clock[0]
    await work.round()
    (one,) = await stores.told.list("acme")
    assert one.state is AtsDeliveryState.DONE
    assert set(desk.by) == set(desk.jobs["job-88"])
    assert max(desk.by[f"a-{n:04}"] for n in range(PAGE)) == 1, "a page that was told is not told again"
    assert len({told.command_id for told in desk.heard}) == 1, "a repeat is the same command"


async def test_a_delivery_that_breaks_us_is_put_off_and_the_others_go_on(stores: Stores, desk: Desk) -> None:
    desk.failures = {"bad": [ValueError("a defect")]}
    work = AtsWork(
        AtsParts({"acme": AtsReader("acme", [SecretStr(KEY)])}, desk),
        stores.told,
        metrics=GatewayMetrics(CollectorRegistry()),
        clock=now,
    )
    for n, reference in enumerate(["bad", "good"]):
        await stores.told.keep("acme", f"m-{n}", json.dumps(status(reference)).encode(), now())
    await work.round()
    good, bad = await stores.told.list("acme")
    assert (good.state, bad.state, bad.reason) == (
        AtsDeliveryState.DONE,
        AtsDeliveryState.WAITING,
        "defect: ValueError",
    )
