"""The REST interface over HTTP, on a real store and a real Temporal server."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from pydantic import JsonValue, SecretStr

from domain.errors import SetupError
from domain.topology import AccessToken, Role
from starter.problem import MEDIA_TYPE
from starter.routes import create_rest_app
from starter.tokens import AccessTokens, FailureLimit
from tests.unit.starter.world import NOW, NOWHERE, PHONE, PLAN, World, open_world, worker

pytestmark = pytest.mark.server

OPERATOR, READER, FOREIGNER = "operator-token-0123456789", "reader-token-0123456789ab", "foreigner-token-01234567"
ACCESS = AccessTokens(
    [
        (
            AccessToken(name="ats", tenant="acme", token="env:A", roles=frozenset({Role.READ, Role.OPERATE})),
            SecretStr(OPERATOR),
        ),
        (AccessToken(name="dashboard", tenant="acme", token="env:B", roles=frozenset({Role.READ})), SecretStr(READER)),
        (
            AccessToken(name="other", tenant="globex", token="env:C", roles=frozenset({Role.READ, Role.OPERATE})),
            SecretStr(FOREIGNER),
        ),
    ]
)


def app_on(world: World, failures: FailureLimit | None = None) -> FastAPI:
    def clock() -> datetime:
        return NOW

    return create_rest_app(world.service, ACCESS, world.stores.idempotency, failures=failures, clock=clock)


def client_of(app: FastAPI, token: str | None) -> httpx.AsyncClient:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rapport", headers=headers)


@pytest.fixture
async def operator(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app_on(world), OPERATOR) as client:
        yield client


def body(ref: str, **changes: JsonValue) -> dict[str, JsonValue]:
    return {
        "reference": ref,
        "line": "recruiting",
        "candidate": {
            "phone": PHONE,
            "variables": {"first_name": "Zebulon"},
            "consent": {"source": "careers page", "obtained_at": "2026-03-01T09:00:00Z"},
        },
        "plan": PLAN.model_dump(mode="json"),
        **changes,
    }


def is_problem(answer: httpx.Response, status: int) -> dict[str, JsonValue]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith(MEDIA_TYPE)
    problem: dict[str, JsonValue] = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= problem.keys()
    return problem


async def test_a_start_is_202_and_its_repeat_200(operator: httpx.AsyncClient, ref: str) -> None:
    first = await operator.post("/v1/engagements", json=body(ref))
    second = await operator.post("/v1/engagements", json=body(ref))

    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["workflow_id"] == second.json()["workflow_id"] == f"engagement:acme:{ref}"
    assert "Zebulon" not in first.text
    assert PHONE not in first.text


async def test_an_idempotency_key_gives_the_first_answer_again(operator: httpx.AsyncClient, ref: str) -> None:
    headers = {"Idempotency-Key": f"key-{ref}"}

    first = await operator.post("/v1/engagements", json=body(ref), headers=headers)
    again = await operator.post("/v1/engagements", json=body(ref), headers=headers)
    other = await operator.post("/v1/engagements", json=body(ref + ".2"), headers=headers)

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.content == again.content
    is_problem(other, 409)


async def test_a_refused_request_leaves_its_key_free(operator: httpx.AsyncClient, ref: str) -> None:
    headers = {"Idempotency-Key": f"key-{ref}"}

    wrong = await operator.post("/v1/engagements", json=body(ref, line="nowhere"), headers=headers)
    right = await operator.post("/v1/engagements", json=body(ref), headers=headers)

    is_problem(wrong, 422)
    assert right.status_code == 202


async def test_other_input_is_a_conflict_with_its_fields(operator: httpx.AsyncClient, ref: str) -> None:
    await operator.post("/v1/engagements", json=body(ref))

    problem = is_problem(await operator.post("/v1/engagements", json=body(ref, job="another")), 409)

    assert problem["fields"] == ["job"]


async def test_every_mistake_of_a_body_is_told_and_no_value_repeated(operator: httpx.AsyncClient, ref: str) -> None:
    wrong = body("not a reference", referense=ref, candidate={"phone": "Zebulon", "consent": {"source": "page"}})

    problem = is_problem(await operator.post("/v1/engagements", json=wrong), 422)

    told = problem["mistakes"]
    assert isinstance(told, list)
    found = {m["field"]: m["message"] for m in told if isinstance(m, dict)}
    assert found.keys() == {"reference", "referense", "candidate.phone", "candidate.consent.obtained_at"}
    assert found["referense"] == 'unknown name; did you mean "reference"?'
    assert "Zebulon" not in str(problem)


async def test_mistakes_that_only_the_service_sees_are_told_the_same_way(operator: httpx.AsyncClient, ref: str) -> None:
    wrong = body(ref, line="recruting", candidate={"phone": PHONE})

    problem = is_problem(await operator.post("/v1/engagements", json=wrong), 422)

    told = problem["mistakes"]
    assert isinstance(told, list)
    assert {m["field"] for m in told if isinstance(m, dict)} == {
        "line",
        "candidate.consent",
        "candidate.variables.first_name",
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/engagements", 405),
        ("GET", "/v1/engagements?limit=0", 422),
        ("GET", "/v1/engagements/not%20a%20reference", 422),
        ("GET", "/v1/engagements/nobody", 404),
        ("GET", "/v1/engagements/nobody/trace", 404),
    ],
)
async def test_every_refusal_is_a_problem(operator: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    is_problem(await operator.request(method, path), status)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"'])
async def test_a_body_that_is_no_object_is_a_problem(operator: httpx.AsyncClient, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    is_problem(await operator.post("/v1/engagements", content=content, headers=headers), 422)


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer ", "Basic b3BlcmF0b3I6eA==", OPERATOR])
async def test_without_a_valid_token_nothing_is_answered(world: World, header: str | None) -> None:
    async with client_of(app_on(world), None) as client:
        answer = await client.get("/v1/engagements", headers={} if header is None else {"Authorization": header})

    is_problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_reader_may_look_and_not_act(world: World, ref: str) -> None:
    async with client_of(app_on(world), READER) as reader:
        assert (await reader.get("/v1/engagements")).status_code == 200
        is_problem(await reader.post("/v1/engagements", json=body(ref)), 403)
        command = {"command_id": "c", "actor": "me", "reason": "no"}
        is_problem(await reader.post(f"/v1/engagements/{ref}/stop", json=command), 403)


async def test_a_foreign_reference_is_404_like_one_that_does_not_exist(
    operator: httpx.AsyncClient, world: World, ref: str
) -> None:
    await operator.post("/v1/engagements", json=body(ref))
    command = {"command_id": "c", "actor": "me", "reason": "mine?"}
    async with client_of(app_on(world), FOREIGNER) as foreigner:
        foreign = is_problem(await foreigner.get(f"/v1/engagements/{ref}"), 404)
        absent = is_problem(await foreigner.get(f"/v1/engagements/{ref}y"), 404)
        is_problem(await foreigner.get(f"/v1/engagements/{ref}/trace"), 404)
        is_problem(await foreigner.post(f"/v1/engagements/{ref}/stop", json=command), 404)
        listed = await foreigner.get("/v1/engagements")

    assert str(foreign["detail"]).replace(ref, "") == str(absent["detail"]).replace(f"{ref}y", "")
    assert listed.json()["engagements"] == []


async def test_guessing_tokens_is_slowed_down_and_forgiven_with_time(world: World) -> None:
    seconds = [0.0]
    failures = FailureLimit(burst=3, every=10, clock=lambda: seconds[0])
    async with client_of(app_on(world, failures), None) as client:
        guesses = [(await client.get("/v1/engagements", headers={"Authorization": "Bearer no"})) for _ in range(4)]
        valid = {"Authorization": f"Bearer {READER}"}
        blocked = await client.get("/v1/engagements", headers=valid)
        seconds[0] += float(guesses[3].headers["retry-after"])
        allowed = await client.get("/v1/engagements", headers=valid)

    assert [guess.status_code for guess in guesses] == [401, 401, 401, 429]
    is_problem(blocked, 429)
    assert allowed.status_code == 200


async def test_the_list_is_paged_by_cursor(operator: httpx.AsyncClient, ref: str) -> None:
    for n in range(3):
        await operator.post("/v1/engagements", json=body(f"{ref}.{n}"))

    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        page = (await operator.get("/v1/engagements", params={"limit": 1, "cursor": cursor})).json()
        seen += [one["reference"] for one in page["engagements"]]
        cursor = page["next_cursor"]

    assert sorted(seen) == [f"{ref}.0", f"{ref}.1", f"{ref}.2"]
    assert cursor == ""


async def test_commands_and_reads_reach_the_engagement(operator: httpx.AsyncClient, temporal: str, ref: str) -> None:
    command = {"command_id": "stop-1", "actor": "ops", "reason": "the job is gone"}
    async with worker(temporal):
        await operator.post("/v1/engagements", json=body(ref))
        view = (await operator.get(f"/v1/engagements/{ref}")).json()
        trace = (await operator.get(f"/v1/engagements/{ref}/trace")).json()
        refused = await operator.post(f"/v1/engagements/{ref}/resend", json=command)
        resolved = await operator.post(
            f"/v1/engagements/{ref}/resolve-send",
            json={**command, "command_id": "r", "send_key": f"engagement:acme:{ref}/opening/1", "was_sent": True},
        )
        stopped = await operator.post(f"/v1/engagements/{ref}/stop", json=command)

    assert view["snapshot"]["waiting_for"] == "the candidate's answer"
    assert {entry["source"] for entry in trace["entries"]} == {"decision", "history"}
    assert is_problem(refused, 409)["type"] == "urn:rapport:problem:not-allowed"
    assert resolved.json()["command"] == "resolve-send"
    assert (stopped.status_code, stopped.json()["accepted"]) == (200, True)


async def test_when_temporal_is_down_the_caller_is_told_to_come_back(url: str, ref: str) -> None:
    async with open_world(url, NOWHERE) as dark, client_of(app_on(dark), OPERATOR) as client:
        answer = await client.post("/v1/engagements", json=body(ref))

    assert is_problem(answer, 503)["type"] == "urn:rapport:problem:unavailable"
    assert answer.headers["retry-after"]


async def test_while_the_app_serves_broken_off_starts_are_finished(url: str, temporal: str, ref: str) -> None:
    async with open_world(url, NOWHERE) as dark, client_of(app_on(dark), OPERATOR) as client:
        await client.post("/v1/engagements", json=body(ref))

    async with open_world(url, temporal) as world:
        later = create_rest_app(
            world.service, ACCESS, world.stores.idempotency, clock=lambda: NOW + timedelta(minutes=5)
        )
        async with later.router.lifespan_context(later):
            row = await world.stores.registry.get("acme", ref)
            while row is None or row.started_at is None:  # the test's own time limit ends this
                row = await world.stores.registry.get("acme", ref)
        assert await world.started(ref)


async def test_the_description_names_every_refusal_and_shows_an_example_that_is_accepted(
    operator: httpx.AsyncClient,
) -> None:
    described = (await operator.get("/v1/openapi.json")).json()

    start = described["paths"]["/v1/engagements"]["post"]
    assert {"202", "200", "401", "403", "409", "422", "429", "503"} <= start["responses"].keys()
    schema = described["components"]["schemas"]["EngagementPost"]
    answer = await operator.post("/v1/engagements", json=schema["examples"][0])
    assert answer.status_code == 202


def test_weak_or_shared_tokens_are_refused_at_the_start() -> None:
    entry = AccessToken(name="a", tenant="acme", token="env:A", roles=frozenset({Role.READ}))
    twin = entry.model_copy(update={"name": "b"})

    with pytest.raises(SetupError, match="shorter than 16"):
        AccessTokens([(entry, SecretStr("short"))])
    with pytest.raises(SetupError, match="the same value"):
        AccessTokens([(entry, SecretStr(READER)), (twin, SecretStr(READER))])
