"""Each persona end to end: what the client is told, and what the phone shows."""

import pytest

from sandbox.personas import Persona, Personas, PersonaSettings, Seat
from tests.unit.sandbox.playground import NUMBER, SECRET, JsonObject, at, made, playing

BEGIN = ["message accepted", "run running", "message sent"]


async def test_a_candidate_who_answers_taps_completes_and_is_told_in_order() -> None:
    async with playing() as play:
        run = await play.start()
        assert (await play.run(run))["status"] == "created"
        assert (await play.run(run))["cost"] == 0
        await play.advance(seconds=1)
        assert (await play.run(run))["cost"] == 1
        assert play.receiver.names == BEGIN
        await play.advance(seconds=60)

        told = ["message delivered", "message read", "inbound Let us begin", "run finished"]
        assert play.receiver.names == [*BEGIN, *told]
        assert (await play.run(run))["state"] == {"clientReference": "att_1", "available": "yes"}
        assert all(hook.headers["x-recrubo-webhook-secret"] == SECRET for hook in play.receiver.hooks)
        phone = await play.ask(f"phones/{NUMBER}")
        assert phone["count"] == 1
        assert isinstance(phone["messages"], list)
        shown = at(phone["messages"][0])
        assert (shown["text"], shown["template"], shown["reference"], shown["run"]) == (
            "Hi Ada, reply to start your intake.",
            "intake_v0",
            "att_1",
            run,
        )


async def test_answers_and_delay_can_be_chosen_for_a_number() -> None:
    async with playing() as play:
        await play.persona(NUMBER, "answers", delay=100, answers={"city": "Utrecht"})
        run = await play.start()
        await play.advance(seconds=101)
        assert (await play.run(run))["status"] == "running"
        await play.advance(seconds=1)
        finished = await play.run(run)
        assert finished["status"] == "finished"
        assert at(finished, "state") == {"clientReference": "att_1", "available": "yes", "city": "Utrecht"}


async def test_who_answers_after_the_session_is_over_only_writes() -> None:
    async with playing() as play:
        await play.persona(NUMBER, "answers-later")
        run = await play.start()
        await play.advance(hours=7)
        assert (await play.run(run))["status"] == "timeout"
        assert play.receiver.names[-3:] == ["run timeout", "message read", "inbound Let us begin"]


async def test_who_declines_completes_with_a_no() -> None:
    async with playing() as play:
        run = await play.start("31600000092")
        await play.advance(minutes=1)
        finished = await play.run(run)
        assert (finished["status"], at(finished, "state")["available"]) == ("finished", "no")


async def test_silence_ends_with_the_flows_own_session() -> None:
    async with playing() as play:
        run = await play.start("31600000093")
        await play.advance(minutes=60)
        assert (await play.run(run))["status"] == "running"
        await play.advance(seconds=1)
        assert (await play.run(run))["status"] == "timeout"
        assert play.receiver.names == [*BEGIN, "message delivered", "run timeout"]


async def test_silence_can_last_for_ever() -> None:
    async with playing() as play:
        run = await play.start("31600000099")
        after = await play.advance(days=40)
        assert (await play.run(run))["status"] == "running"
        assert after["next_due"] is None


async def test_a_number_that_is_not_on_whatsapp_fails_the_message_and_the_run() -> None:
    async with playing() as play:
        run = await play.start("31600000094")
        await play.advance(days=1)
        assert play.receiver.names == ["message accepted", "message failed", "run exception"]
        failed = at(play.receiver.hooks[1].resource, "attributes")
        assert failed["errorMessages"] == ["Message undeliverable"]
        assert (await play.run(run))["cost"] == 0
        assert await play.count("phones/31600000094") == 0
        assert await play.count("phones/31600000094", arrived=False) == 1


@pytest.mark.parametrize(
    ("number", "said"), [("31600000095", "inbound Can you call me instead?"), ("31600000096", "inbound STOP")]
)
async def test_who_writes_instead_leaves_the_run_to_its_session(number: str, said: str) -> None:
    async with playing() as play:
        run = await play.start(number)
        await play.advance(minutes=60)
        assert said in play.receiver.names
        assert (await play.run(run))["status"] == "running"  # the session was renewed by the text
        await play.advance(minutes=5)
        assert (await play.run(run))["status"] == "timeout"


async def test_who_abandons_taps_and_never_finishes() -> None:
    async with playing() as play:
        run = await play.start("31600000097")
        await play.advance(hours=2)
        assert play.receiver.names == [
            *BEGIN,
            "message delivered",
            "message read",
            "inbound Let us begin",
            "run timeout",
        ]
        assert at(await play.run(run), "state") == {"clientReference": "att_1"}


async def test_who_needs_a_follow_up_answers_the_second_message() -> None:
    async with playing() as play:
        await play.persona(NUMBER, "answers-after-follow-up", nth=2)
        thread = await play.open_thread()
        first = made(await play.trigger(thread, "att_1"))
        await play.advance(hours=2)
        assert (await play.run(first))["status"] == "timeout"
        second = made(await play.trigger(thread, "att_2"))
        await play.advance(minutes=1)
        assert (await play.run(second))["status"] == "finished"
        assert await play.count(f"phones/{NUMBER}") == 2


async def test_a_follow_up_message_is_answered_in_the_run_that_still_lives() -> None:
    async with playing() as play:
        await play.persona(NUMBER, "answers-after-follow-up")
        thread = await play.open_thread()
        run = made(await play.trigger(thread))
        await play.advance(minutes=10)
        template = at(await play.run(run), "initialMessage")
        sent: JsonObject = {"sendBy": "Recruiter", "messageThreadId": thread, "payload": template}
        made(await play.post("messages", "messages", sent))
        await play.advance(minutes=1)
        assert (await play.run(run))["status"] == "finished"


def test_the_control_api_wins_over_the_suffix_and_the_longest_suffix_over_the_shorter() -> None:
    suffixes = {"1": PersonaSettings().by_suffix["93"], "01": PersonaSettings().by_suffix["92"]}
    personas = Personas(PersonaSettings(by_suffix=suffixes))
    assert personas.at("31600000001").persona is Persona.DECLINES
    assert personas.at("31600000011").persona is Persona.SILENT
    assert personas.at("31600000002").persona is Persona.ANSWERS
    personas.seat(Seat(number="31600000001", persona=Persona.STOPS))
    assert personas.at("31600000001").persona is Persona.STOPS
    personas.unseat("31600000001")
    assert personas.at("31600000001").persona is Persona.DECLINES
