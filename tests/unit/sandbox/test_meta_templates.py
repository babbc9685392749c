"""Templates at Meta: what is refused, how they are found, and their life from PENDING to DISABLED."""

import json

import pytest
from pydantic import JsonValue

from sandbox.meta.settings import MetaFlow
from tests.unit.sandbox.meta_playground import (
    CHOICE,
    FLOW,
    GREETING,
    PLAIN,
    SCREEN,
    TEMPLATES,
    WABA,
    MetaPlay,
    account,
    listed,
    message_id,
    new_template,
    playing_meta,
    refused,
    template_message,
)
from tests.unit.sandbox.playground import JsonObject, at

FLOW_JSON = json.dumps({"version": "5.0", "screens": [{"id": SCREEN, "title": "Welcome", "terminal": True}]})
LIST = f"{WABA}/message_templates"


async def created(play: MetaPlay, document: JsonObject | None = None) -> str:
    answer = await play.create(document or new_template())
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


BUTTONS: list[tuple[str, JsonObject, str]] = [
    ("no source", {"flow_id": None}, "flow-source"),
    ("id and name", {"flow_name": "intake_flow"}, "flow-source"),
    ("id and JSON", {"flow_json": FLOW_JSON}, "flow-source"),
    ("unknown id", {"flow_id": "900000000000009"}, "unknown-flow"),
    ("unknown name", {"flow_id": None, "flow_name": "nobody"}, "unknown-flow"),
    ("JSON that is none", {"flow_id": None, "flow_json": "{version"}, "flow-json"),
    ("JSON without screens", {"flow_id": None, "flow_json": '{"version":"5.0","screens":[]}'}, "flow-json"),
    ("JSON as an object", {"flow_id": None, "flow_json": {"version": "5.0"}}, "invalid-member"),
    ("JSON without the screen", {"flow_id": None, "flow_json": FLOW_JSON, "navigate_screen": "X"}, "unknown-screen"),
    ("no text", {"text": None}, "missing-member"),
    ("a long text", {"text": "x" * 26}, "invalid-member"),
    ("navigate without screen", {"navigate_screen": None}, "navigate-screen"),
    ("the guide's misprint", {"navigate_screen": None, "nagivate_screen": SCREEN}, "unknown-member"),
    ("default action without screen", {"flow_action": None, "navigate_screen": None}, "navigate-screen"),
    ("unknown screen", {"navigate_screen": "NOWHERE"}, "unknown-screen"),
    ("another action", {"flow_action": "open"}, "invalid-member"),
    ("data_exchange with screen", {"flow_action": "data_exchange"}, "navigate-screen"),
    ("another type", {"type": "URL"}, "button-type"),
]


@pytest.mark.parametrize(("button", "rule"), [r[1:] for r in BUTTONS], ids=[r[0] for r in BUTTONS])
async def test_a_wrong_flow_button_is_refused(button: JsonObject, rule: str) -> None:
    async with playing_meta(told=False) as play:
        assert refused(await play.create(new_template(**button))) == (400, 100, None)
        assert (rule, "100") in await play.reasons()
        assert (await play.api.get(LIST, params={"name": "intake_v3"})).json() == {"data": []}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"name": "Intake_v3"}, "invalid-member"),
        ({"name": "intake-v3"}, "invalid-member"),
        ({"name": "x" * 513}, "invalid-member"),
        ({"language": "en-US"}, "invalid-member"),
        ({"category": "marketing"}, "invalid-member"),
        ({"components": []}, "invalid-member"),
        ({"components": [{"type": "FOOTER", "text": "Bye"}]}, "body-missing"),
        ({"components": [{"type": "body", "text": "a"}, {"type": "BODY", "text": "b"}]}, "component-twice"),
        ({"components": [{"type": "body", "text": "a"}, {"type": "CARDS"}]}, "component-type"),
        ({"components": [{"type": "body", "text": "Hi {{1}}"}]}, "example"),
        ({"components": [{"type": "body", "text": "Hi {{1}}", "example": {"body_text": [["a", "b"]]}}]}, "example"),
        ({"components": [{"type": "body", "text": "Hi {{2}}", "example": {"body_text": [["a"]]}}]}, "variable-numbers"),
        ({"components": [{"type": "body", "text": "Hi {{name}}"}]}, "parameter-format"),
        ({"parameter_format": "NAMED", "components": [{"type": "body", "text": "Hi {{name}}"}]}, "example"),
        (
            {"components": [{"type": "HEADER", "format": "TEXT", "text": "{{1}}"}, {"type": "body", "text": "a"}]},
            "variable",
        ),
    ],
)
async def test_a_wrong_template_is_refused(change: JsonObject, rule: str) -> None:
    async with playing_meta(told=False) as play:
        assert refused(await play.create({**new_template(), **change})) == (400, 100, None)
        assert (rule, "100") in await play.reasons()


async def test_a_name_exists_once_per_language_in_the_exact_code() -> None:
    async with playing_meta(told=False) as play:
        await created(play)
        again = await play.create(new_template())
        assert refused(again) == (400, 100, 2388024)
        assert again.json()["error"]["error_user_title"] == "Content in this language already exists"
        await created(play, {**new_template(), "language": "en"})
        await created(play, {**new_template(), "language": "nl"})


async def test_variables_come_with_samples_in_order_or_by_name() -> None:
    async with playing_meta(told=False) as play:
        body: JsonValue = {"type": "body", "text": "Hi {{1}}", "example": {"body_text": [["Ada"]]}}
        await created(play, {**new_template(), "components": [body]})
        sample: JsonValue = [{"param_name": "name", "example": "Ada"}]
        named: JsonValue = {"type": "BODY", "text": "Hi {{name}}", "example": {"body_text_named_params": sample}}
        made = {**new_template(), "name": "intake_v4", "parameter_format": "NAMED", "components": [named]}
        shown = (await play.api.get(await created(play, made))).json()
        assert (shown["parameter_format"], shown["components"]) == ("NAMED", [named])


async def test_a_flow_made_of_json_is_opened_and_answered_like_any_other() -> None:
    async with playing_meta(account(review_delay=60)) as play:
        made = await created(play, new_template(flow_id=None, flow_json=FLOW_JSON))
        [button] = (await play.api.get(made)).json()["components"][1]["buttons"]
        assert isinstance(button["flow_id"], int)
        assert "flow_json" not in button
        await play.advance(minutes=1)
        message_id(await play.send(template_message("intake_v3")))
        await play.advance(minutes=1)
        assert play.meta.words[-1] == "nfm_reply"


async def test_a_template_keeps_the_flows_id_when_it_was_named() -> None:
    draft = MetaFlow(id="900000000000002", name="draft_flow", status="DRAFT")
    flows = (*account().flows, draft)
    async with playing_meta(account(flows=flows, flow_ids_as_numbers=False), told=False) as play:
        made = await created(play, new_template(flow_id=None, flow_name="intake_flow"))
        [button] = (await play.api.get(made)).json()["components"][1]["buttons"]
        assert (button["flow_id"], "flow_name" in button) == (FLOW, False)
        other = {**new_template(flow_id="900000000000002"), "name": "intake_v4"}
        assert refused(await play.create(other)) == (400, 100, None)
        assert (await play.reasons())[-1][0] == "flow-not-published"


async def test_a_hundred_templates_can_be_created_in_an_hour() -> None:
    async with playing_meta(account(creations_per_hour=2), told=False) as play:
        await created(play)
        await play.advance(minutes=30)
        await created(play, {**new_template(), "language": "nl"})
        third = {**new_template(), "language": "es"}
        answer = await play.create(third)
        assert refused(answer) == (429, 80007, None)
        usage = json.loads(answer.headers["x-business-use-case-usage"])
        assert usage[WABA][0]["estimated_time_to_regain_access"] == 31
        await play.advance(minutes=30)
        await created(play, third)


# -- finding


async def test_a_list_is_followed_by_cursors_to_its_end() -> None:
    async with playing_meta(told=False) as play:
        for language in ("en", "nl", "es", "pt_BR"):
            await created(play, {**new_template(), "language": language})
        seen: list[str] = []
        url, query = LIST, {"fields": "name,language", "limit": "3"}
        answer = (await play.api.get(url, params=query)).json()
        for _ in range(4):
            seen += [f"{item['name']} {item['language']}" for item in answer["data"]]
            assert all(set(item) == {"id", "name", "language"} for item in answer["data"])
            if "next" not in answer["paging"]:
                break
            by_cursor = {**query, "after": answer["paging"]["cursors"]["after"]}
            by_link = (await play.api.get(answer["paging"]["next"])).json()
            assert by_link["data"] == (await play.api.get(url, params=by_cursor)).json()["data"]
            answer = by_link
        assert len(seen) == len(set(seen)) == 7
        assert seen[0] == "intake_v1 en_US"


@pytest.mark.parametrize(("habit", "found"), [("contains", ["intake_v1", "intake_v2"]), ("exact", [])])
async def test_a_name_may_find_more_than_itself(habit: str, found: list[str]) -> None:
    async with playing_meta(account(name_filter=habit), told=False) as play:
        answer = (await play.api.get(LIST, params={"name": "intake"})).json()
        assert [item["name"] for item in answer["data"]] == found


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ({"nmae": "intake_v1"}, "query-parameter"),
        ({"name": ""}, "query-parameter"),
        ({"limit": "0"}, "query-parameter"),
        ({"limit": "many"}, "query-parameter"),
        ({"fields": "id,flow"}, "unknown-field"),
        ({"after": "MjQZD"}, "cursor"),
        ({"access_token": "test-access-token"}, "query-parameter"),
    ],
)
async def test_a_list_is_asked_only_as_the_pages_say(query: dict[str, str], rule: str) -> None:
    async with playing_meta(told=False) as play:
        assert refused(await play.api.get(LIST, params=query)) == (400, 100, None)
        assert (await play.reasons())[0] == (rule, "100")


# -- reading, editing, deleting


async def test_an_edit_begins_the_review_again() -> None:
    async with playing_meta(account(review_delay=600)) as play:
        other = new_template(text="Begin")
        edited = await play.api.post(PLAIN, json={"components": other["components"], "category": "UTILITY"})
        assert edited.json() == {"success": True}
        shown = (await play.api.get(PLAIN, params={"fields": "status,category,components"})).json()
        assert (shown["status"], shown["category"], set(shown)) == (
            "PENDING",
            "UTILITY",
            {"id", "status", "category", "components"},
        )
        assert shown["components"][1]["buttons"][0]["text"] == "Begin"
        assert refused(await play.send(template_message())) == (404, 132001, None)
        await play.advance(minutes=10)
        assert await play.status(PLAIN) == "APPROVED"
        assert play.meta.words == [
            "message_template_status_update PENDING",
            "message_template_status_update APPROVED",
        ]
        wrong: list[JsonObject] = [{}, {"name": "other"}, {"components": [{"type": "FOOTER", "text": "x"}]}]
        for body in wrong:
            assert refused(await play.api.post(PLAIN, json=body)) == (400, 100, None)
        assert refused(await play.api.post("1", json={"category": "UTILITY"})) == (400, 100, 33)
        assert refused(await play.api.get("1")) == (400, 100, 33)


async def test_a_template_is_deleted_by_id_or_in_every_language() -> None:
    dutch = TEMPLATES[0].model_copy(update={"id": "1689550000000008", "language": "nl"})
    async with playing_meta(account(templates=(*TEMPLATES, dutch))) as play:
        wrong = await play.api.delete(LIST, params={"name": "intake_v1", "hsm_id": GREETING})
        assert refused(wrong) == (400, 100, None)
        answer = await play.api.delete(LIST, params={"name": "intake_v1", "hsm_id": PLAIN})
        assert answer.json() == {"success": True}
        assert refused(await play.send(template_message())) == (404, 132001, None)
        assert await play.status("1689550000000008") == "APPROVED"
        assert (await play.api.delete(LIST, params={"name": "intake_v1"})).json() == {"success": True}
        assert refused(await play.api.delete(LIST, params={"name": "intake_v1"})) == (400, 100, None)
        assert refused(await play.api.delete(LIST)) == (400, 100, None)
        await play.advance(seconds=1)
        assert play.meta.words == ["message_template_status_update DELETED"] * 2


# -- the life of a template


async def test_a_template_waits_until_it_is_scripted() -> None:
    async with playing_meta() as play:
        made = await created(play)
        await play.advance(days=30)
        assert await play.status(made) == "PENDING"
        info: JsonObject = {"rejection_info": {"reason": "Two parameters meet.", "recommendation": "Part them."}}
        await play.tell(f"meta/templates/{made}", status="REJECTED", reason="INVALID_FORMAT", more=info)
        [value] = play.meta.values("message_template_status_update")
        assert value == {
            "event": "REJECTED",
            "message_template_id": int(made),
            "message_template_name": "intake_v3",
            "message_template_language": "en_US",
            "reason": "INVALID_FORMAT",
            "message_template_category": "MARKETING",
            **info,
        }
        [entry] = listed(play.meta.told[0].body["entry"])
        assert (entry["id"], entry["time"]) == (WABA, 1772442000 + 30 * 86400)
        shown = (await play.api.get(made, params={"fields": "rejected_reason"})).json()
        assert shown == {"id": made, "rejected_reason": "INVALID_FORMAT"}


@pytest.mark.parametrize("verdict", ["APPROVED", "REJECTED"])
async def test_a_review_can_come_by_itself(verdict: str) -> None:
    async with playing_meta(account(review_delay=300, review_status=verdict)) as play:
        made = await created(play)
        await play.advance(minutes=4)
        assert await play.status(made) == "PENDING"
        await play.advance(minutes=1)
        assert await play.status(made) == verdict
        [value] = play.meta.values("message_template_status_update")
        assert value["reason"] == ("NONE" if verdict == "APPROVED" else "INVALID_FORMAT")
        assert ("rejection_info" in value) is (verdict == "REJECTED")


async def test_a_person_may_be_faster_than_the_review() -> None:
    async with playing_meta(account(review_delay=300)) as play:
        made = await created(play)
        await play.tell(f"meta/templates/{made}", status="REJECTED", reason="SCAM")
        await play.advance(hours=1)
        assert await play.status(made) == "REJECTED"


async def test_bad_quality_pauses_three_hours_then_six_then_for_good() -> None:
    async with playing_meta() as play:
        for title, hours in (("FIRST_PAUSE", 3), ("SECOND_PAUSE", 6)):
            await play.tell(f"meta/templates/{PLAIN}/quality", score="RED")
            assert await play.status(PLAIN) == "PAUSED"
            paused = play.meta.values("message_template_status_update")[-1]
            assert at(paused, "other_info")["title"] == title
            await play.advance(hours=hours - 0.01)
            assert refused(await play.send(template_message())) == (400, 132015, None)
            await play.advance(hours=0.01)
            assert await play.status(PLAIN) == "APPROVED"
            back = play.meta.values("message_template_status_update")[-1]
            assert (back["event"], at(back, "other_info")["title"]) == ("APPROVED", "UNPAUSE")
            await play.tell(f"meta/templates/{PLAIN}/quality", score="GREEN")
        await play.tell(f"meta/templates/{PLAIN}/pause")
        assert await play.status(PLAIN) == "DISABLED"
        ended = play.meta.values("message_template_status_update")[-1]
        assert (ended["event"], at(ended, "other_info")["title"]) == ("DISABLED", "DISABLED")
        assert "disable_date" in at(ended, "disable_info")
        await play.advance(days=30)
        assert refused(await play.send(template_message())) == (400, 132016, None)
        scores = [value["new_quality_score"] for value in play.meta.values("message_template_quality_update")]
        assert scores == ["RED", "GREEN", "RED", "GREEN"]


async def test_a_paused_template_that_is_approved_by_hand_is_not_unpaused_again() -> None:
    async with playing_meta() as play:
        await play.tell(f"meta/templates/{PLAIN}/pause")
        await play.tell(f"meta/templates/{PLAIN}", status="DISABLED")
        await play.advance(hours=4)
        assert await play.status(PLAIN) == "DISABLED"
        assert len(play.meta.told) == 2


async def test_meta_may_change_the_category_at_once_or_later() -> None:
    async with playing_meta(account(category_becomes="MARKETING")) as play:
        answer = await play.create({**new_template(), "category": "UTILITY"})
        assert answer.json()["category"] == "MARKETING"
        await play.tell(f"meta/templates/{CHOICE}/category", category="UTILITY")
        [value] = play.meta.values("template_category_update")
        assert (value["previous_category"], value["new_category"]) == ("MARKETING", "UTILITY")
        assert value["message_template_id"] == int(CHOICE)
        assert (await play.api.get(CHOICE)).json()["category"] == "UTILITY"


async def test_ids_repeat_with_the_seed_and_are_longer_than_some_tools_keep() -> None:
    made = []
    for _ in range(2):
        async with playing_meta(told=False) as play:
            made.append((await created(play), message_id(await play.send(template_message()))))
    assert made[0] == made[1]
    assert int(made[0][0]) > 2**53
