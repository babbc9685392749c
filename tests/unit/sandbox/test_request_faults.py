"""Bad days of a provider, as a client on a real socket sees them, and what they did to the phone."""

import asyncio
from datetime import timedelta
from email.utils import parsedate_to_datetime

import httpx
import pytest

from tests.unit.sandbox.playground import NOW, NUMBER, TOKEN, made, playing, run_attributes


@pytest.mark.parametrize(("kind", "effects"), [("cut-after", 1), ("cut-before", 0)])
async def test_a_cut_connection_is_a_transport_error_with_or_without_the_effect(kind: str, effects: int) -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        await play.fault(kind, "run-create")
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await play.trigger(thread)
        await play.advance(minutes=1)
        assert await play.count(f"phones/{NUMBER}") == effects
        assert await play.count("recrubo/runs", reference="att_1") == effects
        calls = await play.ask("calls", operation="run-create")
        assert (calls["count"], calls["calls"][0]["status"]) == (1, None)  # type: ignore[index,call-overload] # JSON
        made(await play.trigger(thread, "att_2"))
        assert await play.count("calls", path="/recrubo/public/v2/flow-runs", number=NUMBER) == 2


@pytest.mark.parametrize(("kind", "effects"), [("error-after", 1), ("error-before", 0)])
async def test_an_error_comes_with_or_without_the_effect(kind: str, effects: int) -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        await play.fault(kind, "run-create", options={"status": 502, "body": "<html>502</html>", "retry_after": 5})
        answer = await play.trigger(thread)
        assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (502, "<html>502</html>", "5")
        await play.advance(minutes=1)
        assert await play.count(f"phones/{NUMBER}") == effects


async def test_an_answer_can_be_a_success_that_nobody_can_read() -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        await play.fault("error-after", "run-create", options={"status": 201, "body": "<html>ok</html>"})
        answer = await play.trigger(thread)
        assert (answer.status_code, answer.headers["content-type"]) == (201, "text/html; charset=utf-8")
        assert await play.count("recrubo/runs") == 1


async def test_a_fault_after_the_effect_is_not_spent_on_a_refused_request() -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        await play.fault("error-after", "run-create")
        assert (await play.trigger(thread, flowId="nobody")).status_code == 404
        assert (await play.trigger(thread)).status_code == 500


async def test_throttling_says_when_to_come_back_in_seconds_or_as_a_date() -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        await play.fault("throttle", "run-create", options={"retry_after": 30})
        await play.fault("throttle", "run-create", options={"retry_after": 90, "as_date": True})
        first, second = await play.trigger(thread), await play.trigger(thread)
        assert (first.status_code, first.headers["retry-after"]) == (429, "30")
        date = parsedate_to_datetime(second.headers["date"])
        assert (second.status_code, date) == (429, NOW)
        assert parsedate_to_datetime(second.headers["retry-after"]) - date == timedelta(seconds=90)
        assert (await play.trigger(thread)).status_code == 201


async def test_a_token_can_be_refused_out_of_the_blue() -> None:
    async with playing(told=False) as play:
        await play.fault("unauthorized", times=2)
        assert (await play.api.get("message-threads")).status_code == 401
        assert (await play.api.get("flow-runs")).status_code == 401
        assert (await play.api.get("flow-runs")).status_code == 200


async def test_a_slow_answer_runs_into_the_clients_own_limit_and_has_its_effect() -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        await play.fault("slow", "run-create", options={"seconds": 0.5})
        late = {"data": {"type": "flowRuns", "attributes": run_attributes(thread)}}
        with pytest.raises(httpx.ReadTimeout):
            await play.api.post("flow-runs", json=late, timeout=0.1)
        async with asyncio.timeout(20):
            while not await play.count("recrubo/runs", reference="att_1"):  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)


async def test_a_fault_strikes_only_whom_it_was_made_for() -> None:
    async with playing(told=False) as play:
        here, there = await play.open_thread("31600000001"), await play.open_thread("31600000093")
        by_number = await play.fault("error-before", "run-create", number="31600000001")
        by_persona = await play.fault("throttle", "run-create", persona="silent", times=None)
        by_thread = await play.fault("cut-before", "run-list", thread=there)
        assert [(await play.trigger(here)).status_code for _ in range(2)] == [500, 201]
        assert [(await play.trigger(there)).status_code for _ in range(2)] == [429, 429]
        assert (await play.api.get("flow-runs", params={"filter[messageThreadId]": here})).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await play.api.get("flow-runs", params={"filter[messageThreadId]": there})
        shown = (await play.ask("faults"))["faults"]
        assert [(f["id"], f["hits"], f["left"]) for f in shown] == [  # type: ignore[union-attr,index,call-overload] # JSON
            (by_number, 1, 0),
            (by_persona, 2, None),
            (by_thread, 1, 0),
        ]
        assert (await play.control.delete(f"faults/{by_persona}")).status_code == 204
        assert (await play.trigger(there)).status_code == 201
        assert (await play.control.delete(f"faults/{by_persona}")).status_code == 404


async def test_a_fault_waits_for_a_client_with_the_right_token() -> None:
    async with playing(told=False) as play:
        await play.fault("throttle")
        stranger = await play.api.get("flow-runs", headers={"Authorization": f"Bearer {TOKEN}x"})
        assert stranger.status_code == 401
        assert (await play.api.get("flow-runs")).status_code == 429


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "run-create", "kind": "duplicate"},
        {"operation": "webhook", "kind": "throttle"},
        {"operation": "run-create", "kind": "explode"},
        {"operation": "run-create", "kind": "throttle", "options": {"after": 3}},
        {"operation": "run-create", "kind": "throttle", "times": 0},
    ],
)
async def test_a_fault_that_can_never_strike_is_refused(wrong: dict[str, str]) -> None:
    async with playing(told=False) as play:
        assert (await play.control.post("faults", json={"provider": "recrubo", **wrong})).status_code == 422
