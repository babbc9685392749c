"""The Meta sandbox against the wire vectors: takes what the pages allow, refuses the rest, tells as they show."""

import copy
import json
from collections.abc import Iterator

import httpx
import pytest
from pydantic import JsonValue

from sandbox.meta.graph_json import signature, written
from sandbox.meta.settings import MetaAccount
from tests.contract.sandbox_vectors import FOLDER, JsonObject, Request, part, request, requests, response, vector
from tests.unit.sandbox.meta_playground import (
    APP_SECRET,
    FLOW,
    GREETING,
    NUMBER,
    PLAIN,
    TEMPLATES,
    WABA,
    MetaPlay,
    account,
    message_id,
    playing_meta,
    refused,
    template_message,
)
from tests.unit.sandbox.playground import at

ALL = requests("meta")
CREATES = [found for found in ALL if "-template-create-" in found.name]
SENDS = [found for found in ALL if "-send-" in found.name]
READS = [found for found in ALL if "-template-list-" in found.name]


def stage(wanted: Request) -> MetaAccount:
    """The account that the vectors are about; what a vector creates is not there yet."""
    left_out = PLAIN if wanted in CREATES else None
    return account(templates=tuple(one for one in TEMPLATES if one.id != left_out))


async def ask(
    play: MetaPlay, wanted: Request, *, headers: dict[str, str] | None = None, body: str | None = None
) -> httpx.Response:
    return await play.control.request(  # the client without headers of its own
        wanted.method,
        f"{play.url}/meta{wanted.path}",
        params=wanted.query,
        headers=wanted.headers if headers is None else headers,
        content=body if body is not None else wanted.body,
    )


async def prepare(play: MetaPlay, wanted: Request) -> None:
    """An interactive message needs an open window."""
    if "interactive" in wanted.name:
        await play.write()


def test_every_request_vector_is_judged_here() -> None:
    assert sorted(found.name for found in [*CREATES, *SENDS, *READS]) == sorted(found.name for found in ALL)
    assert ALL


@pytest.mark.parametrize("wanted", ALL, ids=lambda wanted: wanted.name)
async def test_every_request_vector_is_taken(wanted: Request) -> None:
    async with playing_meta(stage(wanted), told=False) as play:
        await prepare(play, wanted)
        answer = await ask(play, wanted)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert await play.reasons() == []
        assert await play.count("phones") == 0
        await play.advance(seconds=2)
        assert await play.count(f"phones/{NUMBER}") == (1 if wanted in SENDS else 0)


@pytest.mark.parametrize("wanted", ALL, ids=lambda wanted: wanted.name)
async def test_without_the_right_token_nothing_is_taken(wanted: Request) -> None:
    async with playing_meta(stage(wanted), told=False) as play:
        await prepare(play, wanted)
        for authorization in (None, "Bearer test-access-toke", "Bearer TEST-ACCESS-TOKEN", "OAuth x", "Bearer"):
            headers = {name: value for name, value in wanted.headers.items() if name != "Authorization"}
            if authorization is not None:
                headers["Authorization"] = authorization
            assert refused(await ask(play, wanted, headers=headers)) == (401, 190, None)
        assert set(await play.reasons()) == {("authentication", "190")}
        assert await play.count("meta/messages") == 0


@pytest.mark.parametrize("wanted", [*CREATES, *SENDS], ids=lambda wanted: wanted.name)
async def test_a_body_that_is_not_json_or_not_called_so_is_refused(wanted: Request) -> None:
    async with playing_meta(stage(wanted), told=False) as play:
        await prepare(play, wanted)
        assert refused(await ask(play, wanted, headers={**wanted.headers, "Content-Type": "text/plain"}))[1] == 100
        assert wanted.body is not None
        for body in ("{", "", f"// a note\n{wanted.body}"):
            assert refused(await ask(play, wanted, body=body)) == (400, 100, None)
        assert await play.reasons() == [("content-type", "100"), *[("json", "100")] * 3]


def paths_of(value: JsonValue, where: str = "") -> Iterator[str]:
    """The pointer of every object whose members the pages fix."""
    if isinstance(value, dict):
        yield where
        for name, inner in value.items():
            if name not in ("flow_action_data", "data"):
                yield from paths_of(inner, f"{where}/{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from paths_of(inner, f"{where}/{place}")


@pytest.mark.parametrize("wanted", [*CREATES, *SENDS], ids=lambda wanted: wanted.name)
async def test_a_member_that_no_page_shows_is_refused_wherever_it_stands(wanted: Request) -> None:
    async with playing_meta(stage(wanted), told=False) as play:
        await prepare(play, wanted)
        for place in paths_of(wanted.document):
            extra = copy.deepcopy(wanted.document)
            part(extra, *[step for step in place.split("/") if step])["nagivate_screen"] = "X"
            assert refused(await ask(play, wanted, body=json.dumps(extra))) == (400, 100, None), place
        assert {rule for rule, _ in await play.reasons()} == {"unknown-member"}
    async with playing_meta(stage(wanted).model_copy(update={"strict": False}), told=False) as play:
        await prepare(play, wanted)
        extra = {**wanted.document, "nagivate_screen": "X"}
        assert (await ask(play, wanted, body=json.dumps(extra))).status_code == 200


OPTIONAL = {"recipient_type", "biz_opaque_callback_data"}


@pytest.mark.parametrize("wanted", [*CREATES, *SENDS], ids=lambda wanted: wanted.name)
async def test_a_required_member_is_missed(wanted: Request) -> None:
    async with playing_meta(stage(wanted), told=False) as play:
        await prepare(play, wanted)
        for name in wanted.document:
            lacking = {key: value for key, value in wanted.document.items() if key != name}
            answer = await ask(play, wanted, body=json.dumps(lacking))
            if name in OPTIONAL:
                assert answer.status_code == 200, name
            else:
                assert refused(answer) == (400, 131008 if wanted in SENDS else 100, None), name


def shape(value: JsonValue) -> JsonValue:
    """What a value looks like: members in order and their kinds, values left out."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


async def test_a_template_is_created_as_shown() -> None:
    wanted = request("request-template-create-flow-id", "meta")
    status, _, body = response("response-template-create-pending", "meta")
    async with playing_meta(stage(wanted), told=False) as play:
        answer = await ask(play, wanted)
        assert (answer.status_code, shape(answer.json())) == (status, shape(body))
        assert (answer.json()["status"], answer.json()["category"]) == ("PENDING", "MARKETING")


async def test_a_list_looks_as_shown_and_finds_longer_names_too() -> None:
    wanted = request("request-template-list-by-name", "meta")
    _, _, body = response("response-template-list-first-page", "meta")
    longer = TEMPLATES[0].model_copy(update={"id": "1689550000000009", "name": "intake_v10"})
    dutch = TEMPLATES[0].model_copy(update={"id": "1689550000000008", "language": "nl"})
    async with playing_meta(account(templates=(longer, dutch, *TEMPLATES), most_per_page=2), told=False) as play:
        answer = (await ask(play, wanted)).json()
        shown = shape(answer["data"])
        # The body's text and the button's members are those of the vector, in Meta's order.
        assert shown == shape(body["data"])
        assert shape(answer["paging"]) == shape(body["paging"])
        assert [item["name"] for item in answer["data"]] == ["intake_v10", "intake_v1"]
        assert answer["paging"]["next"].startswith(f"{play.url}/meta/v23.0/{WABA}/message_templates?name=intake_v1&")
        rest = (await play.api.get(answer["paging"]["next"])).json()
        assert [item["id"] for item in rest["data"]] == [PLAIN]
        assert "next" not in rest["paging"]
        assert rest["data"][0]["components"][1]["buttons"][0]["flow_id"] == int(FLOW)


async def test_a_send_is_answered_as_shown_in_either_guide() -> None:
    wanted = request("request-send-template-flow-button", "meta")
    cases = part(vector("response-send-accepted-held-paused", "meta"), "response")["cases"]
    assert isinstance(cases, list)
    documents = [part(json.loads(str(part(case)["body"]))) for case in cases[:3]]
    for document, word in zip(documents, (None, "accepted", "held_for_quality_assessment"), strict=True):
        async with playing_meta(account(message_status=word), told=False) as play:
            answer = (await ask(play, wanted)).json()
            assert shape(answer) == shape(document)
            assert answer["contacts"] == document["contacts"]
            assert at(answer["messages"][0]).get("message_status") == word
            assert answer["messages"][0]["id"].startswith("wamid.HBgLMTU1NTAxMDAwMDEVAgARGB")
    _, _, seed = response("response-send-accepted-seed-style", "meta")
    async with playing_meta(account(answer_style="on-premises"), told=False) as play:
        answer = (await ask(play, wanted)).json()
        assert shape(answer) == shape(seed)


@pytest.mark.parametrize(
    "name",
    ["response-error-131009-flow-button-missing", "response-error-132015-template-paused"],
)
async def test_refusals_are_those_of_the_vectors_word_for_word(name: str) -> None:
    status, _, body = response(name, "meta")
    message = template_message()
    async with playing_meta(told=False) as play:
        if "paused" in name:
            await play.tell(f"meta/templates/{PLAIN}/pause")
        else:
            part(message, "template")["components"] = []
        answer = await play.send(message)
        error = answer.json()["error"]
        assert answer.status_code == status
        assert {**error, "fbtrace_id": ""} == {**part(body, "error"), "fbtrace_id": ""}
        assert error["fbtrace_id"] == answer.headers["x-fb-trace-id"]


async def test_throttling_is_that_of_the_vector() -> None:
    status, headers, body = response("response-error-130429-throughput-retry-after", "meta")
    async with playing_meta(told=False) as play:
        await play.fault("throttle", "message-send", provider="meta", options={"retry_after": 2})
        answer = await play.send(template_message())
        assert (answer.status_code, answer.headers["retry-after"]) == (status, headers["Retry-After"])
        assert {**answer.json()["error"], "fbtrace_id": ""} == {**part(body, "error"), "fbtrace_id": ""}
        message_id(await play.send(template_message()))


def deliveries() -> Iterator[tuple[str, JsonObject]]:
    """Every signed JSON delivery of the vectors."""
    for path in sorted((FOLDER / "meta").glob("webhook-*.json")):
        for place, delivery in enumerate(_listed(part(vector(path.stem, "meta"), "webhook")["deliveries"])):
            if delivery["method"] == "POST" and delivery.get("body") and path.stem != "webhook-wrong-signature":
                yield f"{path.stem}-{place}", delivery


def _listed(value: JsonValue) -> list[JsonObject]:
    assert isinstance(value, list)
    return [part(item) for item in value]


DELIVERIES = list(deliveries())


@pytest.mark.parametrize(("name", "delivery"), DELIVERIES, ids=[name for name, _ in DELIVERIES])
def test_we_write_and_sign_the_very_bytes_of_the_vectors(name: str, delivery: JsonObject) -> None:
    body = str(delivery["body"])
    assert part(delivery, "headers")["X-Hub-Signature-256"] == signature(APP_SECRET, body.encode()), name
    try:
        document: JsonValue = json.loads(body)
    except ValueError:
        assert "malformed" in name
        return
    assert written(document) == body.encode()


def told(name: str, place: int = 0) -> JsonObject:
    """The value of the first change of a delivery."""
    delivery = _listed(part(vector(name, "meta"), "webhook")["deliveries"])[place]
    return part(json.loads(str(delivery["body"])), "entry", 0)


@pytest.mark.parametrize(
    ("name", "place", "word"),
    [
        ("webhook-status-before-send-answer", 0, "sent"),
        ("webhook-replayed-and-reordered-statuses", 3, "delivered"),
        ("webhook-status-failed-undeliverable", 0, "failed"),
        ("webhook-flow-reply-escaped-unicode", 0, "nfm_reply"),
        ("webhook-opt-out-stop-word-and-preference", 0, "text STOP"),
        ("webhook-opt-out-stop-word-and-preference", 1, "user_preferences"),
        ("webhook-opt-out-stop-word-and-preference", 2, "button Stop"),
        ("webhook-template-status-rejected-and-paused", 0, "message_template_status_update REJECTED"),
        ("webhook-template-status-rejected-and-paused", 1, "message_template_status_update PAUSED"),
    ],
)
async def test_what_happens_is_told_in_the_shape_of_the_vectors(name: str, place: int, word: str) -> None:
    async with playing_meta() as play:
        await play.send(template_message())
        await play.send(template_message(to="15550100094"))
        await play.send(template_message(to="15550100096"))
        await play.persona("15550100002", "declines", by_button=True, text="Stop")
        await play.send(template_message("choice_v1", to="15550100002"))
        await play.tell("meta/preferences", number=NUMBER, value="stop")
        await play.tell(f"meta/templates/{GREETING}", status="REJECTED", reason="INVALID_FORMAT")
        await play.tell(f"meta/templates/{PLAIN}/pause")
        await play.advance(minutes=1)
        hook = next(hook for hook in play.meta.told if word in hook.names)
        assert shape(part(hook.body, "entry", 0)) == shape(told(name, place))


async def test_the_flow_reply_is_the_vectors_own() -> None:
    """The same answers give the same text inside of the text, accents, slashes and all."""
    wanted = part(told("webhook-flow-reply-escaped-unicode"), "changes", 0, "value", "messages", 0)
    text = str(part(wanted, "interactive", "nfm_reply")["response_json"])
    answers = part(json.loads(text))
    token = answers.pop("flow_token")
    async with playing_meta() as play:
        sent = message_id(await play.send(template_message(flow_token=token)))
        await play.tell(f"meta/messages/{sent}/submit", answers=answers)
        [reply] = play.meta.values("nfm_reply")
        assert at(reply, "interactive", "nfm_reply")["response_json"] == text
        raw = play.meta.told[-1].raw
        assert json.dumps(text)[1:-1].replace("/", "\\/").encode() in raw


async def test_events_of_several_kinds_travel_together_as_in_the_batch() -> None:
    async with playing_meta() as play:
        await play.tell("meta/batching", seconds=60)
        await play.persona(NUMBER, "texts", text="Is it remote?", delay=1)
        await play.send(template_message())
        await play.advance(seconds=30)
        await play.tell(f"meta/flows/{FLOW}", status="THROTTLED")
        await play.tell("meta/changes", field="brand_new_field", value={"anything": [1]}, time=1772442025)
        await play.tell(f"meta/templates/{PLAIN}", status="APPROVED")
        assert play.meta.told == []
        await play.advance(minutes=2)
        [batch] = play.meta.told
        assert batch.names == [
            "sent",
            "delivered",
            "read",
            "text Is it remote?",
            "flows FLOW_STATUS_CHANGE",
            "brand_new_field",
            "message_template_status_update APPROVED",
        ]
        entries = _listed(batch.body["entry"])
        assert [len(_listed(entry["changes"])) for entry in entries] == [2, 1, 1, 1]
        assert "time" not in entries[0]
        assert [type(entry["time"]) for entry in entries[1:]] == [int, int, int]
        assert {entry["id"] for entry in entries} == {WABA}
