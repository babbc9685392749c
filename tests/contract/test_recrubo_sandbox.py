"""The sandbox against the wire vectors: takes what the pages allow, refuses the rest, and answers in their shapes."""

import copy
import json
from collections.abc import Iterator

import httpx
import pytest
from pydantic import JsonValue

from tests.contract.sandbox_vectors import JsonObject, Request, delivery, part, request, requests, response
from tests.unit.sandbox.playground import NUMBER, Play, playing

THREAD = "7125853f-0000-4000-8000-000000000001"
RUN = "cbb3835f-0000-4000-8000-0000000000c1"
ALL = requests()
WRITES = [found for found in ALL if found.body is not None]


class Stage:
    """A sandbox in which the things that the vectors name exist, under the sandbox's own ids."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.ids: dict[str, str] = {}

    async def prepare(self, wanted: Request) -> None:
        if THREAD in f"{wanted.path}{wanted.query}{wanted.body}":
            self.ids[THREAD] = await self.play.open_thread()
        if RUN in wanted.path:
            self.ids[RUN] = await self.play.start()

    def ours(self, text: str) -> str:
        for theirs, mine in self.ids.items():
            text = text.replace(theirs, mine)
        return text

    async def send(
        self, wanted: Request, *, headers: dict[str, str] | None = None, body: str | None = None
    ) -> httpx.Response:
        content = body if body is not None else wanted.body
        return await self.play.control.request(  # the client without headers of its own
            wanted.method,
            f"{self.play.url}/recrubo/public/v2{self.ours(wanted.path)}",
            params={name: self.ours(value) for name, value in wanted.query.items()},
            headers=wanted.headers if headers is None else headers,
            content=None if content is None else self.ours(content),
        )

    async def refused(self) -> list[tuple[str, str | None]]:
        refusals = (await self.play.ask("refusals"))["refusals"]
        assert isinstance(refusals, list)
        return [(str(part(r)["rule"]), str(part(r)["where"])) for r in refusals]


def paths_of(value: JsonValue, at: str = "") -> Iterator[str]:
    """The pointer of every object in a document, below ``attributes`` and not inside ``state`` or ``example``."""
    if isinstance(value, dict):
        yield at
        for name, inner in value.items():
            if name not in ("state", "example"):
                yield from paths_of(inner, f"{at}/{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from paths_of(inner, f"{at}/{place}")


def at_pointer(document: JsonObject, pointer: str) -> JsonObject:
    return part(document, *[step for step in pointer.split("/") if step])


def pointers(answer: httpx.Response) -> set[str]:
    errors = answer.json()["errors"]
    assert all(error["status"] == str(answer.status_code) for error in errors)
    return {error["source"]["pointer"] for error in errors}


@pytest.mark.parametrize("wanted", ALL, ids=lambda wanted: wanted.name)
async def test_every_request_vector_is_taken(wanted: Request) -> None:
    async with playing(told=False) as play:
        stage = Stage(play)
        await stage.prepare(wanted)
        answer = await stage.send(wanted)
        assert answer.is_success, answer.text
        assert answer.headers["content-type"] == "application/vnd.api+json"
        assert await stage.refused() == []


@pytest.mark.parametrize("wanted", ALL, ids=lambda wanted: wanted.name)
async def test_without_the_right_token_nothing_is_taken(wanted: Request) -> None:
    async with playing(told=False) as play:
        stage = Stage(play)
        await stage.prepare(wanted)
        before = await play.count("recrubo/runs")
        for authorization in (None, "Bearer test-org-toke", "Bearer TEST-ORG-TOKEN", "Basic test-org-token", "Bearer"):
            headers = {name: value for name, value in wanted.headers.items() if name != "Authorization"}
            if authorization is not None:
                headers["Authorization"] = authorization
            answer = await stage.send(wanted, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["errors"] == [{"status": "401", "code": "unauthorized", "title": "Access denied"}]
        assert {rule for rule, _ in await stage.refused()} == {"authentication"}
        assert await play.count("recrubo/runs") == before


@pytest.mark.parametrize("wanted", WRITES, ids=lambda wanted: wanted.name)
async def test_another_media_type_is_refused(wanted: Request) -> None:
    async with playing(told=False) as play:
        stage = Stage(play)
        await stage.prepare(wanted)
        for media_type in ("application/json", "application/vnd.api+json; charset=utf-8", ""):
            answer = await stage.send(wanted, headers={**wanted.headers, "Content-Type": media_type})
            assert answer.status_code == 415
        assert [rule for rule, _ in await stage.refused()] == ["content-type"] * 3
        answer = await stage.send(wanted, headers={**wanted.headers, "Accept": "text/html"})
        assert answer.status_code == 406


@pytest.mark.parametrize("wanted", WRITES, ids=lambda wanted: wanted.name)
async def test_a_missing_or_wrong_member_is_refused_with_its_pointer(wanted: Request) -> None:
    async with playing(told=False) as play:
        stage = Stage(play)
        await stage.prepare(wanted)
        document = wanted.document
        wrong_type = copy.deepcopy(document)
        part(wrong_type, "data")["type"] = "contacts"
        answer = await stage.send(wanted, body=json.dumps(wrong_type))
        assert (answer.status_code, pointers(answer)) == (422, {"/data/type"})

        for name in part(document, "data", "attributes"):
            lacking = copy.deepcopy(document)
            del part(lacking, "data", "attributes")[name]
            answer = await stage.send(wanted, body=json.dumps(lacking))
            assert answer.status_code == 422, name
            where = "/data/attributes" if wanted.name == "request-flow-run-cancel" else f"/data/attributes/{name}"
            assert pointers(answer) == {where}

        for body, status in (("{", 400), ("[]", 422), ("{}", 422), ("null", 422)):
            assert (await stage.send(wanted, body=body)).status_code == status


@pytest.mark.parametrize("wanted", WRITES, ids=lambda wanted: wanted.name)
async def test_a_member_that_no_page_shows_is_refused_wherever_it_stands(wanted: Request) -> None:
    async with playing(told=False) as play:
        stage = Stage(play)
        await stage.prepare(wanted)
        for place in paths_of(wanted.document):
            extra = copy.deepcopy(wanted.document)
            at_pointer(extra, place)["clientReference"] = "att_1"
            answer = await stage.send(wanted, body=json.dumps(extra))
            assert answer.status_code == 422, place
            assert pointers(answer) == {f"{place}/clientReference"}
        assert {rule for rule, _ in await stage.refused()} == {"unknown-member"}


def shape(value: JsonValue) -> JsonValue:
    """What a value looks like: members in order and their kinds, values left out."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("request-thread-create", "response-thread-created"),
        ("request-flow-run-trigger-with-template", "response-flow-run-created"),
        ("request-template-get", "response-template-approved"),
    ],
)
async def test_answers_have_the_shape_and_status_of_the_vectors(asked: str, answered: str) -> None:
    status, headers, body = response(answered)
    async with playing(told=False) as play:
        stage = Stage(play)
        wanted = request(asked)
        await stage.prepare(wanted)
        answer = await stage.send(wanted)
        assert (answer.status_code, answer.headers["content-type"]) == (status, headers["Content-Type"])
        assert shape(answer.json()) == shape(body)


async def test_a_list_of_runs_has_the_shape_of_the_vector() -> None:
    _, _, body = response("response-flow-run-list-one-match")
    async with playing(told=False) as play:
        stage = Stage(play)
        wanted = request("request-flow-run-find-by-thread")
        await stage.prepare(wanted)
        await play.trigger(stage.ids[THREAD])
        answer = (await stage.send(wanted)).json()
        assert set(answer) == set(body)
        assert shape(answer["data"][0]) == shape(part(body, "data", 1))
        assert answer["meta"] == {"total": 1}


async def test_a_run_without_a_template_is_refused_word_for_word() -> None:
    status, _, body = response("response-error-422-missing-template")
    wanted = request("request-flow-run-trigger-with-template")
    async with playing(told=False) as play:
        stage = Stage(play)
        await stage.prepare(wanted)
        nothings: list[JsonObject] = [{}, {"type": "text", "text": {"value": "Hi"}}]
        for nothing in nothings:
            document = wanted.document
            part(document, "data", "attributes")["initialMessage"] = nothing
            answer = await stage.send(wanted, body=json.dumps(document))
            assert (answer.status_code, answer.json()) == (status, body)


async def test_a_second_template_of_a_name_gets_the_odd_documented_error() -> None:
    status, _, body = response("response-error-template-exists-400")
    wanted = request("request-template-create")
    async with playing(told=False) as play:
        stage = Stage(play)
        assert (await stage.send(wanted)).json()["data"]["attributes"]["status"] == "PENDING"
        answer = await stage.send(wanted)
        assert answer.status_code == status
        theirs, ours = part(body, "errors", 0), part(answer.json(), "errors", 0)
        assert shape(ours) == shape(theirs)
        assert ours["status"] == 400
        assert part(ours, "detail")["error_subcode"] == part(theirs, "detail")["error_subcode"] == 2388024


async def test_throttling_looks_like_the_vector() -> None:
    status, headers, body = response("response-error-429-retry-after")
    wanted = request("request-flow-run-trigger-with-template")
    async with playing(told=False) as play:
        stage = Stage(play)
        await stage.prepare(wanted)
        await play.fault("throttle", "run-create", options={"retry_after": 30})
        answer = await stage.send(wanted)
        assert (answer.status_code, answer.headers["retry-after"]) == (status, headers["Retry-After"])
        assert answer.json()["errors"][0].items() >= part(body, "errors", 0).items()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("webhook-flow-run-running", "run running"),
        ("webhook-message-delivery-failed", "message failed"),
        ("webhook-message-inbound-stop", "inbound STOP"),
        ("webhook-template-approved", "messageTemplates APPROVED"),
    ],
)
async def test_webhooks_have_the_shape_and_the_secret_header_of_the_vectors(name: str, told: str) -> None:
    headers, body = delivery(name)
    async with playing() as play:
        await play.start(NUMBER)
        await play.start("31600000096")
        await play.start("31600000094")
        await play.tell("recrubo/templates/7fqa9715-0000-4000-8000-0000000000a1", status="APPROVED")
        await play.advance(minutes=1)
        hook = next(hook for hook in play.receiver.hooks if hook.name == told)
        assert hook.headers.items() >= headers.items()
        assert shape(hook.body) == shape(body)
