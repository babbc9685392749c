"""Threads, runs, templates and messages beyond the trigger: lists, reviews, the 24-hour window."""

import httpx
import pytest
from pydantic import JsonValue

from tests.unit.sandbox.playground import (
    FLOW,
    NUMBER,
    PENDING_TEMPLATE,
    TEMPLATE,
    Play,
    account,
    at,
    made,
    playing,
    settings,
)

THREAD_FILTER = "filter[messageThreadId]"


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["data"]]


async def test_a_list_is_followed_from_page_to_page_to_its_end() -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        other = await play.open_thread("31600000002")
        runs = [made(await play.trigger(thread, f"att_{n}")) for n in range(5)]
        await play.trigger(other)
        seen: list[str] = []
        query = {THREAD_FILTER: thread, "filter[flowId]": FLOW, "page[size]": "2"}
        answer = await play.api.get("flow-runs", params=query)
        for _ in range(5):
            assert answer.json()["meta"] == {"total": 5}
            seen += ids(answer)
            if "links" not in answer.json():
                break
            answer = await play.api.get(answer.json()["links"]["next"])
        assert seen == runs
        newest = await play.api.get("flow-runs", params={THREAD_FILTER: thread, "sort": "-createdAt"})
        assert ids(newest) == runs[::-1]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("filter[reference]", "att_1"),
        ("filter[status][eq]", "running"),
        ("include", "thread"),
        ("page[number]", "0"),
        ("page[size]", "101"),
        ("page[limit]", "5"),
        ("sort", "status"),
        ("q", "x"),
    ],
)
async def test_a_query_that_no_page_shows_is_refused(parameter: str, value: str) -> None:
    async with playing(told=False) as play:
        answer = await play.api.get("flow-runs", params={parameter: value})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["source"] == {"parameter": parameter}
        assert await play.rules() == ["query-parameter"]


async def test_threads_are_found_by_number_and_channel() -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        await play.open_thread("31600000002")
        query = {"filter[channel]": "whatsapp", "filter[identifier]": NUMBER}
        assert ids(await play.api.get("message-threads", params=query)) == [thread]
        nobody = {"filter[channel]": "whatsapp", "filter[identifier]": "31600000003"}
        assert ids(await play.api.get("message-threads", params=nobody)) == []


async def test_a_new_run_shows_in_lists_only_after_the_delay() -> None:
    async with playing(settings(account(list_delay=20)), told=False) as play:
        thread = await play.open_thread()
        run = made(await play.trigger(thread))
        assert ids(await play.api.get("flow-runs", params={THREAD_FILTER: thread})) == []
        assert (await play.run(run))["status"] == "created"
        await play.advance(seconds=19)
        assert ids(await play.api.get("flow-runs", params={THREAD_FILTER: thread})) == []
        await play.advance(seconds=1)
        assert ids(await play.api.get("flow-runs", params={THREAD_FILTER: thread})) == [run]


async def test_the_answer_to_a_trigger_can_be_as_odd_as_the_guides_sample() -> None:
    odd = account(first_status="queued", success_status=200, answers_other_ids=True)
    async with playing(settings(odd), told=False) as play:
        answer = await play.trigger(await play.open_thread())
        attributes = at(answer.json(), "data", "attributes")
        assert (answer.status_code, attributes["status"]) == (200, "queued")
        assert attributes["flowId"] != FLOW
        assert at(attributes, "initialMessage", "template")["id"] != TEMPLATE
        assert (await play.run(made(answer)))["flowId"] == FLOW


async def test_two_organisations_do_not_see_each_other() -> None:
    other = account(name="other", flows=(), templates=())
    other = other.model_copy(update={"token": type(other.token)("other-token")})
    async with playing(settings(account(), other), told=False) as play:
        thread = await play.open_thread()
        theirs = {"Authorization": "Bearer other-token"}
        assert (await play.api.get(f"message-threads/{thread}", headers=theirs)).status_code == 404
        assert ids(await play.api.get("message-threads", headers=theirs)) == []
        assert await play.count("calls", account="other") == 2


# -- templates

BODY: JsonValue = {"type": "BODY", "text": "Hi {{1}}, hello.", "example": {"body_text": [["Ada"]]}}


async def create(play: Play, *components: JsonValue, name: str = "invite", **changes: JsonValue) -> httpx.Response:
    attributes: dict[str, JsonValue] = {
        "name": name,
        "language": "en",
        "category": "UTILITY",
        "components": list(components),
        "preview": "Hi",
    }
    return await play.post("message-templates", "messageTemplates", attributes | changes)


async def test_a_template_is_pending_until_it_is_judged_and_each_judgement_is_told() -> None:
    async with playing() as play:
        template = made(await create(play, BODY))
        await play.advance(days=3)
        read = (await play.api.get(f"message-templates/{template}")).json()
        assert read["data"]["attributes"]["status"] == "PENDING"
        for status, reason in (("APPROVED", None), ("PAUSED", None), ("REJECTED", "INVALID_FORMAT")):
            await play.tell(f"recrubo/templates/{template}", status=status, reason=reason)
            read = (await play.api.get(f"message-templates/{template}")).json()
            assert read["data"]["attributes"]["status"] == status
            assert at(play.receiver.hooks[-1].resource, "attributes") == read["data"]["attributes"]
        assert read["data"]["attributes"]["rejectedReason"] == "INVALID_FORMAT"
        assert play.receiver.names == [f"messageTemplates {status}" for status in ("APPROVED", "PAUSED", "REJECTED")]


async def test_a_template_can_be_reviewed_by_itself() -> None:
    async with playing(settings(account(review_delay=3600))) as play:
        template = made(await create(play, BODY))
        await play.advance(hours=1)
        assert play.receiver.names == ["messageTemplates APPROVED"]
        thread = await play.open_thread()
        parameters: JsonValue = [{"type": "body", "parameters": [{"type": "text", "text": "Ada"}]}]
        message: JsonValue = {"type": "template", "template": {"id": template, "components": parameters}}
        made(await play.trigger(thread, initialMessage=message))


@pytest.mark.parametrize(
    ("components", "pointer"),
    [
        ([{"type": "FOOTER", "text": "Bye"}], "/data/attributes/components"),
        ([BODY, {"type": "BUTTONS", "buttons": []}], "/data/attributes/components/1/type"),
        ([BODY, BODY], "/data/attributes/components/1"),
        ([{"type": "BODY", "text": "Hi {{1}}"}], "/data/attributes/components/0/example/body_text"),
        ([{"type": "BODY", "text": "Hi {{2}}"}], "/data/attributes/components/0/text"),
        ([BODY, {"type": "FOOTER", "text": "{{1}}"}], "/data/attributes/components/1/text"),
        ([BODY, {"type": "HEADER", "format": "Image", "text": "x"}], "/data/attributes/components/1/format"),
        ([{"type": "BODY"}], "/data/attributes/components/0/text"),
    ],
)
async def test_a_template_of_another_form_is_refused(components: list[JsonValue], pointer: str) -> None:
    async with playing(told=False) as play:
        answer = await create(play, *components)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["source"] == {"pointer": pointer}


async def test_a_template_is_unique_by_name_and_language_and_can_be_deleted() -> None:
    async with playing(told=False) as play:
        template = made(await create(play, BODY))
        made(await create(play, BODY, language="nl"))
        assert (await create(play, BODY)).status_code == 400
        assert (await create(play, BODY, name="Not Like This")).status_code == 400
        assert await play.rules() == ["template-exists", "template-name"]
        found = await play.api.get("message-templates", params={"filter[name]": "invite", "filter[language]": "en"})
        assert ids(found) == [template]
        assert (await play.api.delete(f"message-templates/{template}")).status_code == 204
        made(await create(play, BODY))


# -- messages


def message(thread: str, payload: JsonValue) -> dict[str, JsonValue]:
    return {"sendBy": "Recruiter", "messageThreadId": thread, "payload": payload}


TEXT: JsonValue = {"type": "text", "text": {"value": "Are you there?"}}


async def test_a_text_outside_the_window_is_accepted_and_fails_later() -> None:
    async with playing() as play:
        thread = await play.open_thread("31600000099")
        accepted = await play.post("messages", "messages", message(thread, TEXT))
        attributes = at(accepted.json(), "data", "attributes")
        assert (attributes["deliveryStatus"], attributes["origin"], attributes["errorMessages"]) == (
            "accepted",
            "outbound",
            [],
        )
        await play.advance(minutes=1)
        assert play.receiver.names == ["message accepted", "message failed"]
        assert await play.count("phones") == 0


async def test_a_text_inside_the_window_arrives_and_the_window_closes_after_a_day() -> None:
    async with playing() as play:
        thread = await play.open_thread("31600000099")
        await play.tell("recrubo/inbound", number="31600000099", text="Hello?")
        assert play.receiver.names == ["inbound Hello?"]
        await play.advance(hours=23)
        await play.post("messages", "messages", message(thread, TEXT))
        await play.advance(hours=2)
        await play.post("messages", "messages", message(thread, TEXT))
        await play.advance(hours=1)
        assert play.receiver.names[1:] == [
            "message accepted",
            "message sent",
            "message delivered",
            "message accepted",
            "message failed",
        ]
        listed = await play.api.get("messages", params={THREAD_FILTER: thread, "filter[origin]": "outbound"})
        assert [m["attributes"]["deliveryStatus"] for m in listed.json()["data"]] == ["delivered", "failed"]


@pytest.mark.parametrize(
    ("payload", "status", "rule"),
    [
        ({"type": "image"}, 422, "payload-type"),
        ({"type": "text", "text": {"value": ""}}, 422, "invalid-attribute"),
        ({"type": "template", "template": {"id": "nobody"}}, 404, "unknown-template"),
        ({"type": "template", "template": {"id": PENDING_TEMPLATE}}, 422, "template-not-approved"),
        ({"type": "template", "template": {"id": TEMPLATE}}, 422, "parameter-count"),
    ],
)
async def test_a_message_that_cannot_be_sent_is_refused(payload: JsonValue, status: int, rule: str) -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        answer = await play.post("messages", "messages", message(thread, payload))
        assert (answer.status_code, await play.rules()) == (status, [rule])


async def test_a_run_can_be_ended_by_the_script() -> None:
    async with playing() as play:
        run = await play.start("31600000099")
        await play.advance(seconds=1)
        await play.tell(f"recrubo/runs/{run}", status="finished", state={"available": "maybe"})
        assert play.receiver.names[-1] == "run finished"
        assert (await play.run(run))["state"] == {"clientReference": "att_1", "available": "maybe"}
        assert (await play.control.post(f"recrubo/runs/{run}", json={"status": "timeout"})).status_code == 409


async def test_only_what_was_subscribed_is_told() -> None:
    async with playing(settings(account(subscriptions=()))) as play:
        wanted: dict[str, JsonValue] = {"resource": "flowRuns", "event": "update", "fields": ["status"]}
        made(await play.post("webhooks", "webhooks", wanted))
        await play.start()
        await play.advance(minutes=1)
        assert play.receiver.names == ["run running", "run finished"]
