"""The Recrubo client opens threads and ends conversations."""

import pytest

from domain.calls import EndConversation
from domain.errors import ProviderRejected, ProviderUnavailable, Scope
from domain.events import FlowRunStatus
from providers.recrubo.settings import RecruboSettings
from tests.contract.recrubo_bench import (
    ACCOUNT,
    AT,
    PHONE,
    RUN,
    THREAD,
    Bench,
    answer,
    in_turn,
    listing,
    run,
    thread,
)


async def test_a_thread_that_exists_is_taken_and_none_is_opened() -> None:
    bench = Bench(in_turn(listing(thread("other", "31699999999"), thread(chatbotPaused=True))))
    found = await bench.client.open_thread(PHONE)

    assert (found.thread_id, found.chatbot_paused) == (THREAD, True)
    assert bench.asked() == ["GET /message-threads"]


async def test_of_several_threads_for_one_number_the_oldest_is_taken_every_time() -> None:
    newer = thread("newer", createdAt="2026-03-01T00:00:00+00:00")
    older = thread("older", createdAt="2026-01-01T00:00:00+00:00")
    for order in ((newer, older), (older, newer)):
        assert (await Bench(in_turn(listing(*order))).client.open_thread(PHONE)).thread_id == "older"


async def test_a_number_without_a_thread_gets_one() -> None:
    bench = Bench(in_turn(listing(), answer(201, {"data": thread("new-one")})))

    assert (await bench.client.open_thread(PHONE)).thread_id == "new-one"
    assert bench.asked() == ["GET /message-threads", "POST /message-threads"]


async def test_a_conflict_means_that_somebody_opened_it_meanwhile_so_it_is_found() -> None:
    bench = Bench(in_turn(listing(), answer(409, {"errors": [{"status": "409"}]}), listing(thread())))

    assert (await bench.client.open_thread(PHONE)).thread_id == THREAD


async def test_a_conflict_over_a_thread_that_is_not_listed_is_tried_again_later() -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        await Bench(in_turn(listing(), answer(409), listing())).client.open_thread(PHONE)
    assert caught.value.code == "thread-not-listed"


async def test_threads_that_cannot_be_filtered_do_not_stand_in_the_way() -> None:
    bench = Bench(in_turn(answer(400, {"errors": [{"code": "bad_filter"}]}), answer(200, {"data": thread()})))

    assert (await bench.client.open_thread(PHONE)).thread_id == THREAD


async def test_no_access_is_no_missing_thread() -> None:
    bench = Bench(in_turn(answer(401)))
    with pytest.raises(ProviderRejected) as caught:
        await bench.client.open_thread(PHONE)

    assert caught.value.scope is Scope.ACCOUNT
    assert bench.asked() == ["GET /message-threads"]


async def test_the_look_up_of_threads_can_be_switched_off() -> None:
    bench = Bench(in_turn(answer(201, {"data": thread()})), RecruboSettings(find_threads=False))
    await bench.client.open_thread(PHONE)

    assert bench.asked() == ["POST /message-threads"]


async def test_an_opened_thread_without_id_is_asked_for_again_later() -> None:
    with pytest.raises(ProviderUnavailable):
        await Bench(in_turn(listing(), answer(201, {"data": {}}))).client.open_thread(PHONE)


def ending(run_id: str = RUN, thread_id: str = THREAD, *, pause: bool = False) -> EndConversation:
    return EndConversation(account=ACCOUNT, run_id=run_id, thread_id=thread_id, pause_thread=pause, at=AT)


async def test_a_live_run_is_cancelled() -> None:
    bench = Bench(in_turn(answer(200, {"data": run(status="cancelled")})))

    assert await bench.client.end_conversation(ending()) is FlowRunStatus.CANCELLED
    assert bench.asked() == [f"PATCH /flow-runs/{RUN}"]


async def test_after_an_opt_out_the_thread_is_paused_before_the_run_is_cancelled() -> None:
    bench = Bench(in_turn(answer(200, {"data": thread()}), answer(204)))

    assert await bench.client.end_conversation(ending(pause=True)) is FlowRunStatus.CANCELLED
    assert bench.asked() == [f"PATCH /message-threads/{THREAD}", f"PATCH /flow-runs/{RUN}"]


@pytest.mark.parametrize("refusal", [404, 409, 422])
async def test_ending_what_has_ended_is_no_error_and_tells_how_it_ended(refusal: int) -> None:
    bench = Bench(in_turn(answer(refusal), answer(200, {"data": run(status="finished")})))

    assert await bench.client.end_conversation(ending()) is FlowRunStatus.FINISHED


async def test_a_run_that_is_gone_has_no_status() -> None:
    assert await Bench(in_turn(answer(404), answer(404))).client.end_conversation(ending()) is None


async def test_a_run_that_refuses_to_end_though_it_lives_is_an_error() -> None:
    with pytest.raises(ProviderRejected) as caught:
        await Bench(in_turn(answer(422), answer(200, {"data": run()}))).client.end_conversation(ending())
    assert caught.value.code == "http-422"


async def test_a_thread_that_cannot_be_paused_does_not_keep_the_run_alive() -> None:
    bench = Bench(in_turn(answer(500), answer(200, {"data": run(status="cancelled")})))
    with pytest.raises(ProviderUnavailable):
        await bench.client.end_conversation(ending(pause=True))

    assert bench.asked() == [f"PATCH /message-threads/{THREAD}", f"PATCH /flow-runs/{RUN}"]


async def test_nothing_to_end_asks_nothing() -> None:
    bench = Bench(in_turn())

    assert await bench.client.end_conversation(ending(run_id="", pause=False)) is None
