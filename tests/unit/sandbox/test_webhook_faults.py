"""How webhooks arrive on bad days: again, swapped, early, late, never; and the five further attempts."""

from datetime import datetime, timedelta

import pytest

from sandbox.clock import ClockMode
from tests.unit.sandbox.playground import NUMBER, Hook, account, at, made, playing, settings

RUNNING, FINISHED = "webhook:flowRuns:running", "webhook:flowRuns:finished"
BEGIN = ["message accepted", "run running", "message sent", "message delivered"]
END = ["message read", "inbound Let us begin", "run finished"]


@pytest.mark.parametrize("new_id", [False, True])
async def test_a_duplicate_is_the_same_fact_again(new_id: bool) -> None:  # noqa: FBT001 - a case
    async with playing() as play:
        await play.fault("duplicate", RUNNING, options={"copies": 2, "new_id": new_id})
        await play.start()
        await play.advance(minutes=1)
        told = [hook for hook in play.receiver.hooks if hook.name == "run running"]
        assert len(told) == 3
        assert all(hook.resource == told[0].resource for hook in told)
        assert len({hook.id for hook in told}) == (3 if new_id else 1)


async def test_a_reordered_hook_comes_after_the_one_that_overtook_it_and_shows_what_it_showed() -> None:
    async with playing() as play:
        await play.fault("reorder", RUNNING, options={"until": "flowRuns:finished"})
        await play.start()
        await play.advance(minutes=1)
        assert play.receiver.names[-2:] == ["run finished", "run running"]
        assert at(play.receiver.hooks[-1].resource, "attributes", "state") == {"clientReference": "att_1"}


async def test_two_neighbours_can_be_swapped() -> None:
    async with playing() as play:
        await play.fault("reorder", RUNNING)
        await play.start()
        await play.advance(minutes=1)
        assert play.receiver.names == ["message accepted", "message sent", "run running", "message delivered", *END]


async def test_a_held_hook_is_delivered_at_the_latest_when_nothing_follows() -> None:
    async with playing() as play:
        await play.fault("reorder", FINISHED, options={"at_latest": 120})
        await play.start()
        await play.advance(minutes=1)
        assert "run finished" not in play.receiver.names
        await play.advance(minutes=2)
        assert play.receiver.names[-1] == "run finished"


async def test_a_hook_can_come_before_the_answer() -> None:
    async with playing() as play:
        thread = await play.open_thread()
        await play.fault("before-answer", RUNNING)
        answer = await play.trigger(thread)
        assert play.receiver.names == ["message accepted", "run running", "message sent"]
        assert answer.json()["data"]["attributes"]["status"] == "created"
        assert (await play.run(made(answer)))["status"] == "running"
        await play.advance(minutes=1)
        assert play.receiver.names.count("run running") == 1


async def test_a_late_hook_keeps_what_it_had_to_say() -> None:
    async with playing() as play:
        await play.fault("late", RUNNING, number=NUMBER, options={"seconds": 86400})
        run = await play.start()
        await play.advance(minutes=1)
        assert (await play.run(run))["status"] == "finished"
        assert "run running" not in play.receiver.names
        await play.advance(days=1)
        assert play.receiver.names[-1] == "run running"


async def test_a_dropped_hook_never_comes_and_the_run_can_still_be_read() -> None:
    async with playing() as play:
        await play.fault("drop", FINISHED)
        run = await play.start()
        await play.advance(days=2)
        assert "run finished" not in play.receiver.names
        assert (await play.run(run))["status"] == "finished"
        dropped = await play.ask("webhooks", event="flowRuns:finished")
        assert dropped["count"] == 1


async def test_all_hooks_can_be_meant() -> None:
    async with playing() as play:
        await play.fault("drop", "webhook", times=None)
        await play.start()
        await play.advance(days=2)
        assert play.receiver.hooks == []


@pytest.mark.parametrize("keeps", [False, True])
async def test_a_hook_that_is_not_answered_2xx_is_tried_five_more_times_within_a_day(keeps: bool) -> None:  # noqa: FBT001 - a case
    async with playing(settings(account(retries_keep_id=keeps))) as play:
        run = await play.start("31600000093")
        bad = [500, 302, 404, 503, 400, 599]

        async def taken_unless_running(hook: Hook) -> None:
            play.receiver.statuses[:] = [bad.pop(0) if hook.name == "run running" else 204]

        play.receiver.on_hook = taken_unless_running
        await play.advance(days=3)
        tried = (await play.ask("webhooks", event="flowRuns:running", about=run))["attempts"]
        assert isinstance(tried, list)
        assert [at(one)["attempt"] for one in tried] == [1, 2, 3, 4, 5, 6]
        assert len({str(at(one)["id"]) for one in tried}) == (1 if keeps else 6)
        assert play.receiver.names.count("run running") == 6
        assert bad == []
        first, last = (datetime.fromisoformat(str(at(tried[n])["at"])) for n in (0, 5))
        assert timedelta(0) < last - first < timedelta(hours=24)


async def test_a_hook_is_not_tried_again_once_it_was_taken() -> None:
    async with playing() as play:
        play.receiver.statuses = [500]
        await play.start("31600000093")
        await play.advance(days=1)
        assert play.receiver.names.count("message accepted") == 2
        assert play.receiver.names.count("run running") == 1


async def test_a_receiver_that_is_away_hears_it_later() -> None:
    away = account(webhook_url="http://127.0.0.1:9/hooks")
    async with playing(settings(away), told=False) as play:
        await play.start("31600000099")
        await play.advance(minutes=1)
        first = (await play.ask("webhooks", event="flowRuns:running"))["attempts"]
        assert isinstance(first, list)
        assert (at(first[0])["status"], at(first[0])["problem"]) == (None, "ConnectError")
        set_up = await play.api.patch(
            "organizations",
            json={
                "data": {
                    "type": "organizations",
                    "attributes": {"webhookUrl": play.receiver.url, "webhookSecret": "new"},
                }
            },
        )
        assert set_up.status_code == 200
        await play.start("31600000098")
        await play.advance(minutes=1)
        assert play.receiver.hooks[0].headers["x-recrubo-webhook-secret"] == "new"


async def test_by_the_wall_clock_everything_happens_by_itself_and_in_order() -> None:
    quick = account(start_delay=0.01, delivery_delay=0.01)
    async with playing(settings(quick, clock=ClockMode.REAL).model_copy(update={"now": None})) as play:
        await play.persona(NUMBER, "answers", delay=0.1, finish_after=0.05)
        await play.start()
        await play.receiver.until(lambda: "run finished" in play.receiver.names)
        assert play.receiver.names == [*BEGIN, *END]
