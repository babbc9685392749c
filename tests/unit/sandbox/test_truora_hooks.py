"""How Truora's hooks arrive on bad days, and in the forms that nobody has documented."""

from datetime import datetime, timedelta

import httpx
import jwt
import pytest
from pydantic import JsonValue

from sandbox.clock import ClockMode
from tests.unit.sandbox.playground import JsonObject, at
from tests.unit.sandbox.truora_playground import (
    APPROVED,
    BEGUN,
    CANCELED,
    EXPIRED,
    FAILED,
    NUMBER,
    OUTBOUND,
    PENDING,
    PHONE,
    STARTED,
    SUCCEEDED,
    TruoraPlay,
    account,
    events_of,
    form,
    playing,
    settings,
    told,
)

WHOLE = [STARTED, APPROVED, BEGUN, SUCCEEDED]


def ids(play: TruoraPlay) -> list[str]:
    return [str(event["id"]) for event in play.tokens.events]


async def test_every_event_has_an_id_of_its_own_and_a_later_time_to_the_nanosecond() -> None:
    async with playing() as play:
        await play.open()
        await play.advance(minutes=1)
        assert len(set(ids(play))) == 4
        stamps = [str(event["timestamp"]) for event in play.tokens.events]
        assert stamps == sorted(set(stamps))
        assert all(len(stamp.partition(".")[2]) == 10 for stamp in stamps)
        created = {str(at(event, "object")["creation_date"]) for event in play.tokens.events}
        assert created == {"2026-03-02T09:00:00.000000000Z"}
        for hook, stamp in zip(play.tokens.hooks, stamps, strict=True):
            assert hook.body["iat"] == int(datetime.fromisoformat(stamp[:19] + "+00:00").timestamp()) + 1


@pytest.mark.parametrize("new_id", [False, True])
async def test_a_duplicate_is_the_same_event_again_in_the_same_or_in_other_bytes(new_id: bool) -> None:  # noqa: FBT001 - a case
    async with playing() as play:
        await play.fault("duplicate", "webhook:whatsapp_process:succeeded", options={"copies": 2, "new_id": new_id})
        await play.open()
        await play.advance(minutes=1)
        assert play.tokens.told == [*WHOLE, SUCCEEDED, SUCCEEDED]
        assert play.tokens.events[-1] == play.tokens.events[-2] == play.tokens.events[-3]
        assert len(set(play.tokens.raw[-3:])) == (3 if new_id else 1)


async def test_a_reordered_hook_comes_after_the_one_that_overtook_it() -> None:
    async with playing() as play:
        await play.fault("reorder", "webhook:whatsapp_process:started", options={"until": "whatsapp_process:succeeded"})
        await play.open()
        await play.advance(minutes=1)
        assert play.tokens.told == [STARTED, APPROVED, SUCCEEDED, BEGUN]
        assert at(play.tokens.events[-1], "object")["status"] == "pending"


async def test_a_hook_can_come_before_the_answer() -> None:
    async with playing() as play:
        await play.fault("before-answer", "webhook:whatsapp_outbound:started", number=NUMBER)
        session = await play.open()
        assert (play.tokens.told, await play.status(session)) == ([STARTED], "sent")
        assert at(play.tokens.events[0], "object")["session_id"] == session
        await play.advance(minutes=1)
        assert play.tokens.told == WHOLE


async def test_a_hook_can_come_though_the_answer_never_does() -> None:
    async with playing() as play:
        await play.fault("before-answer", "webhook")
        await play.fault("cut-after", "outbound-send")
        with pytest.raises(httpx.RemoteProtocolError):
            await play.send(form(account_id="att_7"))
        assert at(play.tokens.events[0], "object")["account_id"] == "att_7"
        await play.advance(minutes=1)
        assert play.tokens.told == WHOLE
        assert await play.count(f"phones/{NUMBER}") == 1


async def test_a_late_hook_keeps_what_it_had_to_say_and_a_dropped_one_never_comes() -> None:
    async with playing() as play:
        await play.fault("late", "webhook:whatsapp_outbound:approved", options={"seconds": 86400})
        await play.fault("drop", "webhook:whatsapp_process:succeeded")
        session = await play.open()
        await play.advance(minutes=1)
        assert (play.tokens.told, await play.status(session)) == ([STARTED, BEGUN], "succeeded")
        await play.advance(days=2)
        assert play.tokens.told == [STARTED, BEGUN, APPROVED]
        assert str(play.tokens.events[-1]["timestamp"]) < str(play.tokens.events[1]["timestamp"])


async def test_a_hook_that_is_not_answered_2xx_is_signed_anew_and_tried_again() -> None:
    async with playing() as play:
        play.tokens.statuses = [500, 302, 404, 204]
        await play.open("3140000099")
        await play.advance(days=1)
        assert play.tokens.told == [STARTED] * 4
        assert len(set(ids(play))) == 1
        assert len(set(play.tokens.raw)) == 4
        issued = [hook.body["iat"] for hook in play.tokens.hooks]
        assert issued == sorted(issued, key=str)
        tried = (await play.ask("webhooks", event="whatsapp_outbound"))["attempts"]
        assert isinstance(tried, list)
        assert [at(one)["status"] for one in tried] == [500, 302, 404, 204]
        first, last = (datetime.fromisoformat(str(at(tried[place])["at"])) for place in (0, 3))
        assert last - first >= timedelta(hours=1)


async def test_what_happens_at_the_same_instant_can_come_in_one_delivery() -> None:
    async with playing(settings(account(batch_seconds=0))) as play:
        await play.open()
        await play.advance(minutes=1)
        assert [[told(event) for event in events_of(hook)] for hook in play.tokens.hooks] == [
            [STARTED],
            [APPROVED, BEGUN],
            [SUCCEEDED],
        ]


async def test_a_delivery_can_join_events_of_several_conversations() -> None:
    async with playing(settings(account(batch_seconds=3600, strange_elements=True))) as play:
        sessions = {await play.open(), await play.open("3140000002")}
        await play.advance(hours=2)
        [hook] = play.tokens.hooks
        elements = hook.body["events"]
        assert isinstance(elements, list)
        assert elements.count("not an object") == 1
        told_of = [told(event) for event in events_of(hook)]
        assert sorted(told_of) == sorted([*WHOLE, *WHOLE, "check finished"])
        ours = [event for event in events_of(hook) if event["event_type"] != "check"]
        assert {at(event, "object")["session_id"] for event in ours} == sessions
        await play.fault("drop", "webhook:batch")
        await play.open("3140000003")
        await play.advance(hours=2)
        assert len(play.tokens.hooks) == 1


async def test_other_observed_words_can_be_used() -> None:
    async with playing(settings(account(alias_names=True))) as play:
        await play.persona("573140000002", "declines", by_button=True)
        await play.open("3140000002")
        await play.open("3140000096")
        await play.open("3140000094")
        await play.open()
        await play.advance(minutes=1)
        assert set(play.tokens.told) == {
            STARTED,
            "whatsapp_outbound accepted",
            "whatsapp_outbound cancelled",
            "whatsapp_process failure",
            "whatsapp_process success",
            "whatsapp_session cancelled",
            BEGUN,
        }
        shown = at(play.tokens.events[-1], "object")
        assert {"identity_process_id", "user_phone_number"} < set(shown)
        assert {"process_id", "phone_number"}.isdisjoint(shown)


@pytest.mark.parametrize(
    ("changes", "given", "echoed"),
    [({}, "att_1", "att_1"), ({}, None, None), ({"send_account_id": False}, "att_1", None)],
)
async def test_an_account_id_comes_back_only_when_it_was_sent(
    changes: dict[str, JsonValue], given: str | None, echoed: str | None
) -> None:
    async with playing(settings(account(**changes))) as play:
        await play.open(account_id=given)
        await play.advance(minutes=1)
        assert [at(event, "object").get("account_id") for event in play.tokens.events] == [echoed] * 4
        assert await play.count("phones", reference="att_1") == (1 if given else 0)


async def test_an_account_id_can_be_refused() -> None:
    async with playing(settings(account(takes_account_id=False)), heard=False) as play:
        assert (await play.send(form(account_id="att_1"))).status_code == 400
        assert await play.rules() == ["unknown-field"]
        assert (await play.send()).status_code == 200


async def test_members_that_nobody_documents_can_be_left_out() -> None:
    async with playing(settings(account(names_session=False, tells_variables=False))) as play:
        await play.open()
        await play.advance(minutes=1)
        shown = [at(event, "object") for event in play.tokens.events]
        assert all({"session_id", "variables"}.isdisjoint(one) for one in shown)


async def test_events_that_nobody_needs_can_be_told_too() -> None:
    async with playing(settings(account(tells_everything=True))) as play:
        await play.open()
        await play.open("3140000095")
        await play.advance(minutes=1)
        assert play.tokens.told.count("whatsapp_session started") == 2
        assert play.tokens.told.count("whatsapp_inbound started") == 2
        assert [word for word in play.tokens.told if word in WHOLE] == [STARTED, *WHOLE]


# -- the script


async def test_an_outbound_becomes_sendable_and_no_hook_tells_it() -> None:
    async with playing() as play:
        sent = form(outbound_id=PENDING, var_name=None, var_lastname=None)
        assert (await play.send(sent)).status_code == 400
        for status, answer in (("REJECTED", 400), ("PAUSED", 400), ("APPROVED", 200)):
            await play.tell(f"truora/outbounds/{PENDING}", status=status)
            read = (await play.api.get(f"whatsapp/outbounds/{PENDING}")).json()
            assert read["outbound_status"] == status
            assert (await play.send(sent)).status_code == answer
        assert play.tokens.hooks == []


async def test_the_ambiguous_hook_tells_of_a_review_without_a_conversation() -> None:
    async with playing(settings(account(tells_reviews=True))) as play:
        await play.tell(f"truora/outbounds/{OUTBOUND}", status="REJECTED", reason="INVALID_FORMAT")
        assert play.tokens.told == []
        await play.tell(f"truora/outbounds/{OUTBOUND}", status="APPROVED")
        assert play.tokens.told == [APPROVED]
        assert {"session_id", "phone_number", "process_id"}.isdisjoint(at(play.tokens.events[0], "object"))


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("accepted", [STARTED, APPROVED, BEGUN]),
        ("started", [STARTED, BEGUN]),
        ("canceled", [STARTED, CANCELED]),
        ("succeeded", [STARTED, SUCCEEDED]),
        ("failed", [STARTED, FAILED]),
        ("expired", [STARTED, EXPIRED]),
        ("exited", [STARTED, "whatsapp_session canceled"]),
    ],
)
async def test_anything_can_be_made_to_happen_once(outcome: str, words: list[str]) -> None:
    async with playing() as play:
        session = await play.open("3140000099")
        await play.advance(seconds=1)
        verdict: JsonObject = {"outcome": outcome, "variables": {"city": "Cali"}, "failure_status": "agent"}
        await play.tell(f"truora/sessions/{session}", **verdict)
        assert play.tokens.told == words
        shown = at(play.tokens.events[-1], "object")
        assert shown.get("variables") == ({"city": "Cali"} if outcome == "succeeded" else None)
        assert shown.get("failure_status") == ("agent" if outcome == "failed" else None)
        if outcome in ("succeeded", "failed", "expired", "exited"):
            again = await play.control.post(f"truora/sessions/{session}", json=verdict)
            assert again.status_code == 409


async def test_a_candidate_can_be_made_to_write() -> None:
    async with playing() as play:
        session = await play.open("3140000099")
        await play.advance(seconds=1)
        await play.tell("truora/inbound", number="573140000099", text="When does it start?")
        assert play.tokens.told == [STARTED]
        await play.tell("truora/inbound", number="573140000099", text=" exit ", session=session)
        assert await play.status(session) == "exited"
        nobody = await play.control.post("truora/inbound", json={"number": "573140000000", "text": "EXIT"})
        assert nobody.status_code == 404


async def test_an_event_of_unknown_words_can_be_sent() -> None:
    async with playing() as play:
        shown: JsonObject = {"poll": 1}
        for _ in range(2):
            event: JsonObject = {"event_type": "whatsapp_poll", "event_action": "voted", "object": shown}
            await play.tell("truora/events", account="truora", **event)
        assert play.tokens.told == ["whatsapp_poll voted"] * 2
        assert at(play.tokens.events[0], "object") == shown
        assert len(set(ids(play))) == 2


async def test_a_reset_forgets_conversations_and_verdicts() -> None:
    async with playing() as play:
        session = await play.open()
        await play.tell(f"truora/outbounds/{PENDING}", status="APPROVED")
        assert (await play.control.post("reset")).status_code == 204
        assert await play.count("truora/sessions") == 0
        assert (await play.api.get(f"whatsapp/outbounds/{PENDING}")).json()["outbound_status"] == "PENDING"
        await play.advance(days=2)
        assert play.tokens.hooks == []
        assert await play.open() == session  # the same ids again


async def test_the_same_script_is_told_in_the_same_bytes_and_another_seed_in_others() -> None:
    async def a_week(seed: str) -> list[bytes]:
        async with playing(settings(seed=seed)) as play:
            for last in ("01", "91", "92", "93", "94", "96", "97"):
                await play.open(f"31400000{last}")
            await play.advance(days=7)
            return play.tokens.raw

    first = await a_week("one")
    assert len(first) > 15
    assert first == await a_week("one")
    assert not set(first) & set(await a_week("two"))


async def test_by_the_wall_clock_everything_happens_by_itself() -> None:
    async with playing(settings(account(start_delay=0.01), clock=ClockMode.REAL)) as play:
        await play.persona(NUMBER, "answers", delay=0.05, finish_after=0.05)
        await play.open(PHONE)
        await play.tokens.until(lambda: len(play.tokens.hooks) == 4)
        assert play.tokens.told == WHOLE
        assert jwt.get_unverified_header(play.tokens.raw[0])["alg"] == "HS256"
