"""Each persona at Truora end to end: what the hooks tell, and what the phone shows."""

import pytest

from tests.unit.sandbox.playground import at
from tests.unit.sandbox.truora_playground import (
    APPROVED,
    BEGUN,
    CANCELED,
    COLLECTED,
    EXITED,
    EXPIRED,
    FAILED,
    FLOW,
    NOTIFICATION,
    NUMBER,
    OUTBOUND,
    PLAIN,
    STARTED,
    SUCCEEDED,
    account,
    playing,
    settings,
)


async def test_a_candidate_who_answers_accepts_and_completes_and_is_told_in_order() -> None:
    async with playing() as play:
        session = await play.open()
        assert await play.status(session) == "queued"
        assert await play.count(f"phones/{NUMBER}") == 0
        await play.advance(seconds=1)
        assert (play.tokens.told, await play.status(session)) == ([STARTED], "sent")
        await play.advance(days=3)

        assert play.tokens.told == [STARTED, APPROVED, BEGUN, SUCCEEDED]
        shown = [at(event, "object") for event in play.tokens.events]
        assert {one["session_id"] for one in shown} == {session}
        assert {one["phone_number"] for one in shown} == {f"+{NUMBER}"}
        assert [one["status"] for one in shown] == ["sent", "approved", "pending", "success"]
        assert [one.get("variables") for one in shown] == [None, None, None, COLLECTED]
        phone = await play.ask(f"phones/{NUMBER}")
        assert isinstance(phone["messages"], list)
        message = at(phone["messages"][0])
        assert (phone["count"], message["text"], message["template"], message["thread"]) == (
            1,
            "Hi Ada Pérez! Select “Continue” to start.",
            "Intake EN",
            session,
        )


async def test_answers_and_delay_can_be_chosen_for_a_number() -> None:
    async with playing() as play:
        await play.persona(NUMBER, "answers", delay=100, finish_after=60, answers={"city": "Cali"})
        session = await play.open()
        await play.advance(seconds=101)
        assert await play.status(session) == "started"
        await play.advance(seconds=60)
        assert at(play.tokens.events[-1], "object", "variables") == {**COLLECTED, "city": "Cali"}


@pytest.mark.parametrize(("delay", "last"), [(23.9 * 3600, SUCCEEDED), (24.1 * 3600, EXPIRED)])
async def test_a_tap_counts_until_the_conversation_is_over(delay: float, last: str) -> None:
    async with playing() as play:
        await play.persona(NUMBER, "answers-later", delay=delay)
        await play.open()
        await play.advance(days=3)
        assert play.tokens.told[-1] == last
        assert (APPROVED in play.tokens.told) is (last == SUCCEEDED)


async def test_who_declines_completes_with_a_no() -> None:
    async with playing() as play:
        await play.open("3140000092")
        await play.advance(days=3)
        assert play.tokens.told == [STARTED, APPROVED, BEGUN, SUCCEEDED]
        assert at(play.tokens.events[-1], "object", "variables") == {**COLLECTED, "available": "no"}


async def test_who_declines_by_button_cancels_the_outbound_and_a_day_later_the_conversation_expires() -> None:
    async with playing() as play:
        await play.persona(NUMBER, "declines", by_button=True)
        session = await play.open()
        await play.advance(days=3)
        assert play.tokens.told == [STARTED, CANCELED, EXPIRED]
        assert await play.status(session) == "canceled"


async def test_the_label_of_a_button_can_be_named_and_a_cancel_can_be_the_end() -> None:
    async with playing(settings(account(expires_canceled=False))) as play:
        await play.persona(NUMBER, "answers", text="Cancel")
        await play.open()
        await play.advance(days=3)
        assert play.tokens.told == [STARTED, CANCELED]


async def test_silence_ends_with_the_conversations_own_hours() -> None:
    async with playing() as play:
        session = await play.open("3140000093")
        await play.advance(hours=24)
        assert await play.status(session) == "sent"
        await play.advance(seconds=1)
        assert await play.status(session) == "expired"
        assert play.tokens.told == [STARTED, EXPIRED]


async def test_silence_can_last_for_ever() -> None:
    async with playing() as play:
        session = await play.open("3140000099")
        after = await play.advance(days=40)
        assert (await play.status(session), after["next_due"]) == ("sent", None)


@pytest.mark.parametrize(("undeliverable", "told"), [("failed", [FAILED]), ("silent", [EXPIRED])])
async def test_a_number_that_is_not_on_whatsapp_sees_nothing(undeliverable: str, told: list[str]) -> None:
    async with playing(settings(account(undeliverable=undeliverable))) as play:
        await play.open("3140000094")
        await play.advance(days=3)
        assert play.tokens.told == told
        assert at(play.tokens.events[0], "object").get("failure_status") == (
            "undelivered" if undeliverable == "failed" else None
        )
        assert await play.count("phones/573140000094") == 0
        assert await play.count("phones/573140000094", arrived=False) == 1


async def test_who_writes_instead_is_not_heard_and_expires() -> None:
    async with playing() as play:
        await play.open("3140000095")
        await play.advance(days=3)
        assert play.tokens.told == [STARTED, EXPIRED]


async def test_who_stops_types_exit_which_cancels_the_conversation_for_good() -> None:
    async with playing() as play:
        session = await play.open("3140000096")
        await play.advance(days=3)
        assert play.tokens.told == [STARTED, EXITED]
        assert await play.status(session) == "exited"


async def test_another_stop_word_means_nothing_here() -> None:
    async with playing() as play:
        await play.persona(NUMBER, "stops", text="STOP")
        await play.open()
        await play.advance(days=3)
        assert play.tokens.told == [STARTED, EXPIRED]


async def test_who_abandons_accepts_and_never_finishes() -> None:
    async with playing() as play:
        await play.open("3140000097")
        await play.advance(days=3)
        assert play.tokens.told == [STARTED, APPROVED, BEGUN, EXPIRED]


async def test_who_needs_a_follow_up_answers_the_second_message() -> None:
    async with playing() as play:
        first = await play.open("3140000098")
        await play.advance(days=2)
        assert await play.status(first) == "expired"
        second = await play.open("3140000098", outbound_id=PLAIN, var_name=None, var_lastname=None)
        await play.advance(minutes=1)
        assert second != first
        assert await play.status(second) == "succeeded"
        assert await play.count("phones/573140000098") == 2


@pytest.mark.parametrize(("persona", "last"), [("changes-answer", SUCCEEDED), ("blocks", EXPIRED)])
async def test_personas_of_other_providers_do_the_nearest_thing(persona: str, last: str) -> None:
    async with playing() as play:
        await play.persona(NUMBER, persona)
        await play.open()
        await play.advance(days=3)
        assert play.tokens.told[-1] == last
        assert play.tokens.told.count(SUCCEEDED) == (1 if last == SUCCEEDED else 0)


async def test_a_notification_starts_no_flow_even_when_one_is_named() -> None:
    async with playing() as play:
        await play.open(outbound_id=NOTIFICATION, flow_id=FLOW, var_name=None, var_lastname=None)
        await play.advance(days=3)
        assert play.tokens.told == [STARTED, EXPIRED]
        assert {"process_id", "flow_id"}.isdisjoint(at(play.tokens.events[0], "object"))
        assert at(play.tokens.events[0], "object")["outbound_id"] == NOTIFICATION


async def test_a_flow_can_have_hours_of_its_own() -> None:
    flow = account().flows[0].model_copy(update={"session_hours": 2.0})
    async with playing(settings(account(flows=(flow,)))) as play:
        await play.open("3140000093")
        await play.advance(hours=2, seconds=1)
        assert play.tokens.told == [STARTED, EXPIRED]
        assert at(play.tokens.events[-1], "object")["outbound_id"] == OUTBOUND
