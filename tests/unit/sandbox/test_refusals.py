"""The rules beyond the shape of a request: every row of Recrubo's table, and where refusals can be read."""

import pytest
from pydantic import JsonValue

from tests.unit.sandbox.playground import (
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


def template(template_id: str, *components: JsonValue) -> JsonValue:
    return {"type": "template", "template": {"id": template_id, "components": list(components)}}


def body(*texts: str) -> JsonValue:
    return {"type": "body", "parameters": [{"type": "text", "text": text} for text in texts]}


@pytest.mark.parametrize(
    ("changes", "status", "rule", "pointer"),
    [
        ({"flowId": "nobody"}, 404, "unknown-flow", "/data/attributes/flowId"),
        ({"messageThreadId": "nobody"}, 404, "unknown-thread", "/data/attributes/messageThreadId"),
        (
            {"initialMessage": template("nobody", body("Ada"))},
            404,
            "unknown-template",
            "/data/attributes/initialMessage/template/id",
        ),
        (
            {"initialMessage": template(PENDING_TEMPLATE)},
            422,
            "template-not-approved",
            "/data/attributes/initialMessage/template/id",
        ),
        (
            {"initialMessage": template(TEMPLATE)},
            422,
            "parameter-count",
            "/data/attributes/initialMessage/template/components",
        ),
        (
            {"initialMessage": template(TEMPLATE, body("Ada", "Utrecht"))},
            422,
            "parameter-count",
            "/data/attributes/initialMessage/template/components",
        ),
        (
            {"initialMessage": template(TEMPLATE, body("Ada"), body("Ada"))},
            422,
            "component-twice",
            "/data/attributes/initialMessage/template/components/1/type",
        ),
        (
            {"initialMessage": template(TEMPLATE, {"type": "body", "parameters": [{"type": "text", "text": 1}]})},
            422,
            "invalid-attribute",
            "/data/attributes/initialMessage/template/components/0/parameters/0/text",
        ),
        ({"state": "none"}, 422, "invalid-attribute", "/data/attributes/state"),
    ],
)
async def test_a_trigger_that_cannot_work_makes_no_run(
    changes: dict[str, JsonValue], status: int, rule: str, pointer: str
) -> None:
    async with playing(told=False) as play:
        answer = await play.trigger(await play.open_thread(), **changes)
        assert answer.status_code == status
        assert [error["source"]["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert await play.rules() == [rule]
        await play.advance(minutes=5)
        assert (await play.count("recrubo/runs"), await play.count("phones")) == (0, 0)


async def test_all_mistakes_of_a_trigger_are_told_at_once() -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        await pause(play, thread, paused=True)
        unapproved = template(PENDING_TEMPLATE, body("Ada"))
        answer = await play.trigger(thread, initialMessage=unapproved)
        assert answer.status_code == 422
        assert sorted(await play.rules()) == ["parameter-count", "template-not-approved", "thread-paused"]


async def pause(play: Play, thread: str, *, paused: bool) -> None:
    answer = await play.patch(f"message-threads/{thread}", "messageThreads", {"chatbotPaused": paused})
    assert answer.json()["data"]["attributes"]["chatbotPaused"] is paused


async def test_a_paused_thread_neither_starts_nor_continues_a_flow() -> None:
    async with playing(told=False) as play:
        thread = await play.open_thread()
        waiting = made(await play.trigger(thread))
        await pause(play, thread, paused=True)
        assert (await play.trigger(thread)).status_code == 422
        await play.advance(days=2)
        assert (await play.run(waiting))["status"] == "created"
        await pause(play, thread, paused=False)
        await play.advance(seconds=2)
        assert (await play.run(waiting))["status"] == "running"
        await pause(play, thread, paused=True)
        await play.advance(days=2)
        assert (await play.run(waiting))["status"] == "running"
        await pause(play, thread, paused=False)
        await play.advance(days=2)
        assert (await play.run(waiting))["status"] == "timeout"


@pytest.mark.parametrize(
    "identifier", ["+31600000001", "31 600000001", "0031600000001", "31600abc001", "", 31600000001]
)
async def test_an_identifier_is_digits_with_a_country_code(identifier: str | int) -> None:
    async with playing(told=False) as play:
        wanted: dict[str, JsonValue] = {"channel": "whatsapp", "identifier": identifier}
        answer = await play.post("message-threads", "messageThreads", wanted)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["source"] == {"pointer": "/data/attributes/identifier"}


@pytest.mark.parametrize(
    ("mode", "status", "same"), [("409", 409, False), ("existing", 200, True), ("new", 201, False)]
)
async def test_a_second_thread_for_a_number_is_by_setting(mode: str, status: int, same: bool) -> None:  # noqa: FBT001 - a case
    async with playing(settings(account(duplicate_threads=mode)), told=False) as play:
        first = await play.open_thread()
        wanted: dict[str, JsonValue] = {"channel": "whatsapp", "identifier": NUMBER}
        second = await play.post("message-threads", "messageThreads", wanted)
        assert second.status_code == status
        if status < 400:
            assert (made(second) == first) is same


async def test_the_state_is_closed_while_a_run_is_running_and_can_be_erased_after() -> None:
    async with playing(told=False) as play:
        run = await play.start()
        await play.advance(seconds=1)
        refused = await play.patch(f"flow-runs/{run}", "flowRuns", {"state": {}})
        assert (refused.status_code, await play.rules()) == (422, ["run-running"])
        assert refused.json()["errors"][0]["source"] == {"pointer": "/data/attributes/state"}
        assert (await play.run(run))["state"] == {"clientReference": "att_1"}
        await play.advance(minutes=1)
        assert (await play.patch(f"flow-runs/{run}", "flowRuns", {"state": {}})).status_code == 200
        assert (await play.run(run))["state"] == {}


async def test_an_ended_run_keeps_its_end() -> None:
    async with playing() as play:
        run = await play.start("31600000093")
        await play.advance(seconds=5)
        cancelled = await play.patch(f"flow-runs/{run}", "flowRuns", {"status": "cancelled"})
        assert cancelled.json()["data"]["attributes"]["status"] == "cancelled"
        again = await play.patch(f"flow-runs/{run}", "flowRuns", {"status": "finished"})
        assert (again.status_code, await play.rules()) == (422, ["run-ended"])
        await play.advance(days=3)
        assert (await play.run(run))["status"] == "cancelled"
        assert play.receiver.names[-1] == "run cancelled"


async def test_a_run_cancelled_before_its_start_sends_nothing() -> None:
    async with playing() as play:
        run = await play.start()
        await play.patch(f"flow-runs/{run}", "flowRuns", {"status": "cancelled"})
        await play.advance(days=3)
        assert play.receiver.names == ["run cancelled"]
        assert await play.count("phones") == 0


async def test_a_change_names_what_it_changes_and_never_null() -> None:
    async with playing(told=False) as play:
        run = await play.start()
        other = await play.api.patch(
            f"flow-runs/{run}", json={"data": {"type": "flowRuns", "id": "x", "attributes": {"status": "cancelled"}}}
        )
        assert (other.status_code, other.json()["errors"][0]["source"]) == (422, {"pointer": "/data/id"})
        null = await play.patch(f"flow-runs/{run}", "flowRuns", {"status": None})
        assert null.status_code == 422
        unknown = await play.patch(f"flow-runs/{run}", "flowRuns", {"status": "running"})
        assert unknown.status_code == 422
        assert (await play.run(run))["status"] == "created"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "flow-runs/nobody", 404),
        ("GET", "message-threads/nobody", 404),
        ("GET", "message-templates/nobody", 404),
        ("DELETE", "message-templates/nobody", 404),
        ("GET", "contacts", 404),
        ("DELETE", "flow-runs", 405),
        ("PATCH", f"message-templates/{TEMPLATE}", 405),
    ],
)
async def test_what_is_not_there_is_told_in_the_error_envelope(method: str, path: str, status: int) -> None:
    async with playing(told=False) as play:
        answer = await play.api.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/vnd.api+json"
        assert answer.json()["errors"][0]["status"] == str(status)


async def test_lenient_mode_ignores_unknown_members_and_nothing_else() -> None:
    async with playing(settings(account(strict=False)), told=False) as play:
        thread = await play.open_thread()
        message = at({"m": template(TEMPLATE, body("Ada"))}, "m")
        at(message, "template")["version"] = 2
        run = made(await play.trigger(thread, priority="high", initialMessage=message))
        assert (await play.run(run))["status"] == "created"
        assert (await play.trigger(thread, state=1, priority="high")).status_code == 422


async def test_refusals_tell_the_rule_and_never_the_content() -> None:
    async with playing(told=False) as play:
        wanted: dict[str, JsonValue] = {"channel": "whatsapp", "identifier": "+31600000001"}
        await play.post("message-threads", "messageThreads", wanted)
        refusals = await play.ask("refusals")
        [refusal] = refusals["refusals"] if isinstance(refusals["refusals"], list) else []
        assert (
            at(refusal).items()
            >= {
                "provider": "recrubo",
                "operation": "thread-create",
                "status": 422,
                "rule": "invalid-attribute",
                "where": "/data/attributes/identifier",
            }.items()
        )
        assert "31600000001" not in str(refusals)
        await play.control.delete("refusals")
        assert await play.rules() == []
