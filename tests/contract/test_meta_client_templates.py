"""Templates at Meta: read over all pages, created once, refused before the call, and checked against the plan."""

import json

import httpx
import pytest
from pydantic import ValidationError

from domain.errors import ProviderRejected, ProviderUnavailable, Scope
from domain.model import JsonValue
from domain.plans import FlowRef, TemplateRef
from domain.sends import TemplateStatus
from providers.meta.messages import FlowAction
from providers.meta.settings import FlowSource, MetaSettings
from providers.meta.template_spec import FlowButton, TemplateSpec
from tests.contract.meta_bench import (
    BUTTON,
    FLOW,
    FLOW_JSON,
    INTAKE,
    SCREEN,
    SETTINGS,
    SPEC,
    TEMPLATE_ID,
    WABA,
    Bench,
    answer,
    in_turn,
    listing,
    refusal,
    template,
)

LIST = f"GET /{WABA}/message_templates"
CREATE = f"POST /{WABA}/message_templates"
AT_BUTTON = "components buttons FLOW"

INTAKE_FLOW = FlowRef(id=FLOW, screen=SCREEN)


def button(**changes: object) -> TemplateSpec:
    return SPEC.model_copy(update={"button": BUTTON.model_copy(update=changes)})


def spec(**changes: object) -> TemplateSpec:
    return SPEC.model_copy(update=changes)


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        (spec(name="Intake V1"), ["name: 1 to 512 characters of a-z, 0-9 and _"]),
        (spec(name="x" * 513), ["name: 1 to 512"]),
        (spec(name=""), ["name: 1 to 512"]),
        (spec(body=""), ["components body text: is empty"]),
        (spec(body="x" * 1025), ["components body text: 1025 characters, at most 1024"]),
        (spec(header="x" * 61), ["components header text: 61 characters, at most 60"]),
        (spec(footer="x" * 61), ["components footer text: 61 characters, at most 60"]),
        (spec(header="Hi {{1}}"), ["components header text: takes no variable"]),
        (spec(footer="Hi {{1}}"), ["components footer text: takes no variable"]),
        (spec(body="Hi {{1}}"), ["components body example: 0 given"]),
        (spec(body="Hi {{2}}", examples=("Ada",)), ["components body example: 1 given"]),
        (spec(body="Hi", examples=("Ada",)), ["components body example: 1 given"]),
        (spec(body="Hi {{1}}", examples=(" ",)), ["components body example: one is empty"]),
        (spec(body="Hi {{name}}", named_examples={"other": "Ada"}), ["components body example: the names differ"]),
        (spec(body="Hi {{1}}", examples=("A",), named_examples={"a": "A"}), ["not both"]),
        (button(text=""), [f"{AT_BUTTON} text: is empty"]),
        (button(text="x" * 26), [f"{AT_BUTTON} text: 26 characters, at most 25"]),
        (button(flow_id=""), [f"{AT_BUTTON}: exactly one of flow_id, flow_name and flow_json"]),
        (button(flow_name="intake"), [f"{AT_BUTTON}: exactly one of"]),
        (button(flow_json=FLOW_JSON), [f"{AT_BUTTON}: exactly one of"]),
        (button(flow_id="", flow_json="{"), [f"{AT_BUTTON} flow_json: is not JSON"]),
        (button(flow_id="", flow_json="[1]"), [f"{AT_BUTTON} flow_json: is not an object with screens"]),
        (button(flow_id="", flow_json='{"screens":[]}'), [f"{AT_BUTTON} flow_json: is not an object with screens"]),
        (
            button(flow_id="", flow_json=FLOW_JSON, navigate_screen="OTHER"),
            [f"{AT_BUTTON} navigate_screen: flow_json has no screen of this id"],
        ),
        (button(navigate_screen=" "), [f"{AT_BUTTON} navigate_screen: required with flow_action navigate"]),
        (
            button(flow_action=FlowAction.DATA_EXCHANGE),
            [f"{AT_BUTTON} flow_action: data_exchange is not switched on", f"{AT_BUTTON} navigate_screen: only with"],
        ),
        (
            spec(name="", body="", button=FlowButton(text="")),
            ["name:", "body text", "FLOW text", "exactly one of", "navigate_screen"],
        ),
    ],
)
async def test_a_template_that_meta_would_refuse_is_refused_before_the_call_with_every_field_named(
    wrong: TemplateSpec, fields: list[str]
) -> None:
    bench = Bench(in_turn())
    for attempt in (bench.provisioning.create_template(wrong), bench.provisioning.edit_template(TEMPLATE_ID, wrong)):
        with pytest.raises(ProviderRejected) as caught:
            await attempt
        assert all(field in str(caught.value) for field in fields), str(caught.value)

    assert bench.requests == []


@pytest.mark.parametrize("misprint", ["nagivate_screen", "flow_url"])
def test_a_member_that_meta_does_not_know_is_refused_by_its_name(misprint: str) -> None:
    with pytest.raises(ValidationError, match=misprint):
        FlowButton.model_validate({"text": "Open form", "flow_id": FLOW, misprint: SCREEN})


async def test_a_source_that_the_account_may_not_use_is_refused() -> None:
    by_id_only = SETTINGS.model_copy(update={"flow_sources": frozenset({FlowSource.ID})})
    bench = Bench(in_turn(), by_id_only)
    with pytest.raises(ProviderRejected, match="flow_name: not among flow_sources"):
        await bench.provisioning.create_template(button(flow_id="", flow_name="intake"))


async def test_the_screen_may_be_left_out_and_data_exchange_used_where_the_account_says_so() -> None:
    loose = SETTINGS.model_copy(update={"require_screen": False, "allow_data_exchange": True})
    bench = Bench(settings=loose)
    await bench.provisioning.create_template(button(navigate_screen=""))
    await bench.provisioning.create_template(button(navigate_screen="", flow_action=FlowAction.DATA_EXCHANGE))

    wire = json.dumps(bench.bodies())
    assert "navigate_screen" not in wire
    assert '"flow_action": "navigate"' in wire
    assert '"flow_action": "data_exchange"' in wire


async def test_variables_go_with_examples_in_order_or_by_name() -> None:
    bench = Bench()
    await bench.provisioning.create_template(spec(body="Hi {{1}} of {{ 2 }}", examples=("Ada", "Acme")))
    await bench.provisioning.create_template(spec(body="Hi {{name}}", named_examples={"name": "Ada"}))

    ordered, named = (body for body in bench.bodies() if isinstance(body, dict))
    assert '"example": {"body_text": [["Ada", "Acme"]]}' in json.dumps(ordered)
    assert "parameter_format" not in ordered
    assert named["parameter_format"] == "NAMED"
    assert '{"body_text_named_params": [{"param_name": "name", "example": "Ada"}]}' in json.dumps(named)


async def test_header_and_footer_stand_around_the_body() -> None:
    bench = Bench()
    await bench.provisioning.create_template(spec(header="Intake", footer="Reply STOP to opt out", button=None))

    (body,) = bench.bodies()
    assert isinstance(body, dict)
    assert body["components"] == [
        {"type": "HEADER", "format": "TEXT", "text": "Intake"},
        {"type": "body", "text": SPEC.body},
        {"type": "FOOTER", "text": "Reply STOP to opt out"},
    ]


async def test_a_template_that_exists_is_taken_up_and_not_created_again() -> None:
    bench = Bench(in_turn(listing(template(status="REJECTED", rejected_reason="SCAM"))))
    reading = await bench.provisioning.create_template(SPEC)

    assert (reading.template_status, reading.reason, reading.provider_id) == (
        TemplateStatus.REJECTED,
        "SCAM",
        TEMPLATE_ID,
    )
    assert bench.asked() == [LIST]


async def test_a_creation_refused_because_the_name_exists_takes_up_what_is_there() -> None:
    exists = refusal(400, 100, 2388024)
    bench = Bench(in_turn(listing(), exists, listing(template(status="PENDING"))))
    reading = await bench.provisioning.create_template(SPEC)

    assert (reading.provider_id, reading.template_status) == (TEMPLATE_ID, TemplateStatus.PENDING)
    assert bench.asked() == [LIST, CREATE, LIST]


async def test_a_name_that_exists_but_is_not_listed_stays_a_refusal_of_the_template() -> None:
    bench = Bench(in_turn(listing(), refusal(400, 100, 2388024), listing()))
    with pytest.raises(ProviderRejected) as caught:
        await bench.provisioning.create_template(SPEC)

    assert (caught.value.scope, caught.value.code) == (Scope.TEMPLATE, "100/2388024")


async def test_after_a_lost_answer_to_a_creation_the_next_try_looks_first() -> None:
    lost = httpx.ReadTimeout("lost")
    bench = Bench(in_turn(listing(), lost, listing(template(status="PENDING"))))
    with pytest.raises(ProviderUnavailable):
        await bench.provisioning.create_template(SPEC)
    reading = await bench.provisioning.create_template(SPEC)

    assert reading.provider_id == TEMPLATE_ID
    assert bench.asked() == [LIST, CREATE, LIST]


async def test_an_edit_sends_texts_and_button_and_wants_success() -> None:
    bench = Bench()
    await bench.provisioning.edit_template(TEMPLATE_ID, SPEC)

    assert bench.asked() == [f"POST /{TEMPLATE_ID}"]
    (body,) = bench.bodies()
    assert isinstance(body, dict)
    assert set(body) == {"category", "components"}
    with pytest.raises(ProviderUnavailable, match="without success"):
        await Bench(in_turn(answer(200, {"success": False}))).provisioning.edit_template(TEMPLATE_ID, SPEC)


async def test_a_deletion_names_one_language_by_its_id_and_is_done_when_nothing_is_left() -> None:
    bench = Bench()
    await bench.provisioning.delete_template("intake_v1", TEMPLATE_ID)
    assert dict(bench.requests[0].url.params) == {"name": "intake_v1", "hsm_id": TEMPLATE_ID}

    await Bench(in_turn(refusal(400, 100), listing(template("9")))).provisioning.delete_template(
        "intake_v1", TEMPLATE_ID
    )
    still = Bench(in_turn(refusal(400, 100), listing(template())))
    with pytest.raises(ProviderRejected):
        await still.provisioning.delete_template("intake_v1", TEMPLATE_ID)


async def test_every_template_is_listed_and_one_is_read_by_its_id() -> None:
    bench = Bench(
        in_turn(listing(template("1"), after="c"), listing(template("2", language="nl")), answer(200, template()))
    )
    listed = await bench.provisioning.list_templates()

    assert [(t.reading.provider_id, t.language) for t in listed] == [("1", "en_US"), ("2", "nl")]
    assert (await bench.provisioning.read_template(TEMPLATE_ID)).name == "intake_v1"
    assert bench.asked() == [LIST, LIST, f"GET /{TEMPLATE_ID}"]


async def test_of_a_link_to_the_next_page_only_the_cursor_is_taken() -> None:
    bench = Bench(in_turn(listing(after="MjQZD"), listing()))
    await bench.client.read_template(INTAKE, INTAKE_FLOW)

    first, second = bench.requests
    assert second.url.host == first.url.host == "graph.facebook.com"
    assert dict(second.url.params) == {**dict(first.url.params), "after": "MjQZD"}


@pytest.mark.parametrize("pages", [[listing(after="a"), listing(after="a")], [listing(after=str(n)) for n in range(9)]])
async def test_a_list_that_cannot_be_read_to_its_end_is_an_error_and_never_missing(pages: list[httpx.Response]) -> None:
    bench = Bench(in_turn(*pages), SETTINGS.model_copy(update={"most_pages": 3}))
    with pytest.raises(ProviderRejected) as caught:
        await bench.client.read_template(INTAKE, INTAKE_FLOW)

    assert caught.value.code == "incomplete-list"


@pytest.mark.parametrize("body", [None, [], {"data": {}}, {"data": None}, "x"])
async def test_a_list_without_a_list_may_pass_and_is_never_missing(body: JsonValue) -> None:
    with pytest.raises(ProviderUnavailable):
        await Bench(in_turn(answer(200, body))).client.read_template(INTAKE, INTAKE_FLOW)


async def test_a_template_of_another_language_or_a_longer_name_is_missing() -> None:
    others = listing(template("1", language="en"), template("2", name="intake_v10"), "junk", None)
    reading = await Bench(in_turn(others)).client.read_template(INTAKE, INTAKE_FLOW)

    assert reading.template_status is TemplateStatus.MISSING


async def test_one_that_is_being_deleted_gives_way_to_its_successor() -> None:
    both = listing(template("1", status="PENDING_DELETION"), template("2"))
    assert (await Bench(in_turn(both)).client.read_template(INTAKE, INTAKE_FLOW)).provider_id == "2"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("PENDING", TemplateStatus.PENDING),
        ("APPROVED", TemplateStatus.APPROVED),
        ("approved", TemplateStatus.APPROVED),
        ("REJECTED", TemplateStatus.REJECTED),
        ("PAUSED", TemplateStatus.PAUSED),
        ("DISABLED", TemplateStatus.DISABLED),
        ("IN_APPEAL", TemplateStatus.IN_APPEAL),
        ("LIMIT_EXCEEDED", TemplateStatus.LIMIT_EXCEEDED),
        ("DELETED", TemplateStatus.DELETED),
        ("PENDING_DELETION", TemplateStatus.PENDING_DELETION),
        ("ARCHIVED", TemplateStatus.ARCHIVED),
        ("LOCKED", TemplateStatus.LOCKED),
        ("MISSING", TemplateStatus.UNKNOWN),
        ("SOMETHING_NEW", TemplateStatus.UNKNOWN),
        ("", TemplateStatus.UNKNOWN),
    ],
)
async def test_only_approved_sends_and_a_new_word_stays_raw(word: str, status: TemplateStatus) -> None:
    reading = await Bench(in_turn(listing(template(status=word)))).client.read_template(INTAKE, INTAKE_FLOW)

    assert (reading.template_status, reading.raw_status) == (status, word)
    assert reading.template_status.sends is (word.upper() == "APPROVED")


def parts(*components: JsonValue) -> JsonValue:
    return template(components=[{"type": "BODY", "text": "Hi"}, *components])


FORM: JsonValue = {"type": "FLOW", "flow_id": int(FLOW), "navigate_screen": SCREEN}
NAMED: JsonValue = template(components=[{"type": "body", "text": "Hi {{first_name}}"}])


@pytest.mark.parametrize(
    ("found", "plan", "flow", "field"),
    [
        (template(), INTAKE, None, "flow: the template has a FLOW button"),
        (parts(), INTAKE, INTAKE_FLOW, "flow: the template has no FLOW button"),
        (
            parts({"type": "buttons", "buttons": [{"type": "QUICK_REPLY"}, FORM]}),
            INTAKE,
            INTAKE_FLOW,
            "flow.button: the FLOW button is at position 1",
        ),
        (template(), INTAKE, FlowRef(id="77"), "flow.id: the template's button opens another Flow"),
        (template(), INTAKE, FlowRef(screen="OTHER"), "flow.screen: the template's button opens another screen"),
        (NAMED, TemplateRef(name="intake_v1", language="en_US", variables=("first_name",)), None, "template.named: "),
        (
            NAMED,
            TemplateRef(name="intake_v1", language="en_US", variables=("city",), named=True),
            None,
            "template.variables: the names differ",
        ),
        (parts({"type": "HEADER", "format": "IMAGE"}), INTAKE, None, "template header: takes media"),
        (
            parts({"type": "BUTTONS", "buttons": [{"type": "URL", "url": "https://a.example/{{1}}"}]}),
            INTAKE,
            None,
            "template button URL: takes a value",
        ),
        (parts({"type": "BUTTONS", "buttons": [{"type": "COPY_CODE"}]}), INTAKE, None, "template button COPY_CODE"),
    ],
)
async def test_an_approved_template_that_the_plan_cannot_fill_is_refused_before_anything_is_sent(
    found: JsonValue, plan: TemplateRef, flow: FlowRef | None, field: str
) -> None:
    with pytest.raises(ProviderRejected) as caught:
        await Bench(in_turn(listing(found))).client.read_template(plan, flow)

    assert (caught.value.scope, caught.value.code) == (Scope.MESSAGE, "template-misfit")
    assert field in str(caught.value)


async def test_a_template_that_is_not_approved_is_not_judged_by_the_plan_yet() -> None:
    found = listing(template(status="PAUSED"))
    assert (await Bench(in_turn(found)).client.read_template(INTAKE, None)).template_status is TemplateStatus.PAUSED


async def test_variables_are_counted_once_each_and_unknown_without_a_body() -> None:
    two = template(components=[{"type": "body", "text": "{{1}} and {{ 2 }} and {{1}}"}])
    counted = TemplateRef(name="intake_v1", language="en_US", variables=("a", "b"))
    none = template(components=[])

    assert (await Bench(in_turn(listing(two))).client.read_template(counted, None)).variables == 2
    assert (await Bench(in_turn(listing(none))).client.read_template(INTAKE, INTAKE_FLOW)).variables is None


async def test_version_page_size_and_fields_are_settings() -> None:
    other = MetaSettings(
        waba_id="777", verify_token="env:T", api_version="v16.0", page_size=5, list_fields=("id", "name")
    )
    bench = Bench(in_turn(listing()), other)
    await bench.client.read_template(INTAKE, INTAKE_FLOW)

    url = bench.requests[0].url
    assert url.path == "/v16.0/777/message_templates"
    assert dict(url.params) == {"name": "intake_v1", "fields": "id,name", "limit": "5"}
