"""Meta's guide *Sending a Flow*, statement by statement: templates and template messages of docs/seed-coverage.md.

The real client speaks to the strict sandbox over a socket wherever the statement is about what happens; where it is
about one member of a request or an answer, that member is looked at.
"""

import json

import pytest
from pydantic import SecretStr

from domain.contacts import Alias, AliasKind
from domain.errors import ProviderRejected, ProviderUnavailable, Scope, SendError
from domain.events import FormAnswered
from domain.model import JsonValue
from domain.plans import FlowRef
from domain.sends import TemplateStatus
from providers.meta.messages import FlowAction
from providers.meta.settings import BASE_URL, FlowSource
from providers.meta.template_spec import FlowButton
from providers.meta.webhook import MetaWebhookReader
from tests.contract.meta_bench import (
    ACCOUNT,
    BUTTON,
    DIGITS,
    FLOW,
    FLOW_JSON,
    GREETING_SEND,
    INTAKE,
    INTERACTIVE,
    NAMES,
    REFERENCE,
    SCREEN,
    SEND,
    SENDER,
    SETTINGS,
    SPEC,
    TEMPLATE_ID,
    TOKEN,
    WABA,
    WAMID,
    Bench,
    answer,
    in_turn,
    inside,
    listing,
    refusal,
    taken,
)
from tests.contract.meta_play import FRESH, FRESH_SEND, client_of, creation, flow_send, set_up_of, template_send
from tests.unit.sandbox.meta_playground import (
    APP_SECRET,
    NUMBER,
    new_template,
    playing_meta,
    refused,
)

# -- what the account needs


@pytest.mark.parametrize(
    ("code", "kind", "scope"),
    [
        pytest.param(131031, ProviderRejected, Scope.ACCOUNT, id="M1-locked"),
        pytest.param(131048, ProviderUnavailable, Scope.LINE, id="M1-quality"),
        pytest.param(130429, ProviderUnavailable, Scope.LINE, id="M37-throughput"),
        pytest.param(131056, ProviderUnavailable, Scope.PAIR, id="M37-pair"),
        pytest.param(131051, ProviderRejected, Scope.MESSAGE, id="M37-type"),
        pytest.param(131047, ProviderRejected, Scope.MESSAGE, id="M37-timing"),
    ],
)
async def test_what_the_business_or_its_limits_do_not_allow_is_told_by_code_and_scope(
    code: int, kind: type[SendError], scope: Scope
) -> None:
    with pytest.raises(kind) as caught:
        await Bench(in_turn(refusal(400, code))).client.trigger_flow(SEND, NAMES)

    assert (type(caught.value), caught.value.scope, caught.value.code) == (kind, scope, str(code))


async def test_m7_every_write_carries_token_and_media_type() -> None:
    bench = Bench()
    await bench.provisioning.create_template(SPEC)
    await bench.client.trigger_flow(SEND, NAMES)
    await bench.client.send_interactive_flow(INTERACTIVE, NAMES)

    writes = [request for request in bench.requests if request.method == "POST"]
    assert [r.headers["authorization"] for r in writes] == [f"Bearer {TOKEN}"] * 3
    assert [r.headers["content-type"] for r in writes] == ["application/json"] * 3


@pytest.mark.parametrize("version", ["v16.0", "v18.0", "v23.0"])
async def test_m6_and_m25_the_paths_are_the_guides_under_any_version(version: str) -> None:
    bench = Bench(settings=SETTINGS.model_copy(update={"api_version": version}))
    await bench.provisioning.create_template(SPEC)
    await bench.client.trigger_flow(SEND, NAMES)

    paths = [str(request.url) for request in bench.requests if request.method == "POST"]
    assert paths == [f"{BASE_URL}/{version}/{WABA}/message_templates", f"{BASE_URL}/{version}/{SENDER}/messages"]


async def test_m42_the_number_in_the_path_is_a_misprint_that_the_sandbox_refuses() -> None:
    async with playing_meta(told=False) as play, client_of(play, {"main": "15550100000"}) as client:
        with pytest.raises(ProviderRejected) as caught:
            await client.trigger_flow(SEND, NAMES)
        assert caught.value.scope is Scope.LINE
        assert await play.count("meta/messages") == 0


async def test_m54_notes_are_no_json_we_write_none_and_the_sandbox_takes_none() -> None:
    for document in (await creation(), await template_send(), await flow_send()):
        assert "//" not in json.dumps(document)
    async with playing_meta(told=False) as play:
        noted = await play.api.post(f"{SENDER}/messages", content=f"// a note\n{json.dumps(await template_send())}")
        assert refused(noted) == (400, 100, None)


# -- templates


async def test_m3_and_m24_a_template_with_a_flow_is_sent_once_it_is_approved() -> None:
    async with playing_meta(told=False) as play, set_up_of(play) as set_up, client_of(play) as client:
        made = await set_up.create_template(FRESH)
        assert (made.template_status, made.template_status.sends) == (TemplateStatus.PENDING, False)
        with pytest.raises(ProviderRejected) as caught:
            await client.trigger_flow(FRESH_SEND, NAMES)
        assert (caught.value.scope, caught.value.code) == (Scope.TEMPLATE, "132001")

        await play.tell(f"meta/templates/{made.provider_id}", status="APPROVED")
        assert (await client.read_template(FRESH_SEND.template, FRESH_SEND.flow)).template_status.sends
        assert (await client.trigger_flow(FRESH_SEND, NAMES)).message_id
        await play.advance(seconds=2)
        assert await play.count(f"phones/{NUMBER}") == 1


async def test_m5_and_m22_a_flow_can_come_as_json_by_id_or_by_name() -> None:
    sources = (
        {"flow_json": FLOW_JSON, "flow_id": ""},
        {"flow_id": FLOW},
        {"flow_name": "intake_flow", "flow_id": ""},
    )
    async with playing_meta(told=False) as play, set_up_of(play) as set_up:
        for n, source in enumerate(sources):
            button = BUTTON.model_copy(update=source)
            spec = SPEC.model_copy(update={"name": f"seed_{n}", "button": button})
            assert (await set_up.create_template(spec)).template_status is TemplateStatus.PENDING
        assert await play.reasons() == []


BUTTONS = ("components", 1, "buttons", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param((*BUTTONS, "type"), "FLOW", id="M4"),
        pytest.param(("name",), "intake_v1", id="M8"),
        pytest.param(("language",), "en_US", id="M9"),
        pytest.param(("category",), "MARKETING", id="M10"),
        pytest.param(("components", 0), {"type": "body", "text": "Please fill in the intake form"}, id="M11"),
        pytest.param(("components", 1, "type"), "BUTTONS", id="M12"),
        pytest.param((*BUTTONS, "text"), "Open form", id="M13"),
        pytest.param((*BUTTONS, "navigate_screen"), SCREEN, id="M14"),
        pytest.param((*BUTTONS, "flow_action"), "navigate", id="M17"),
        pytest.param((*BUTTONS, "flow_id"), FLOW, id="M18"),
    ],
)
async def test_a_creation_says(path: tuple[str | int, ...], value: JsonValue) -> None:
    assert inside(await creation(), *path) == value


@pytest.mark.parametrize("language", ["english", "EN", "en-US", "en_us"])
def test_m9_a_language_that_is_no_code_is_refused(language: str) -> None:
    with pytest.raises(ValueError, match="language"):
        type(SPEC).model_validate({**SPEC.model_dump(), "language": language})


async def test_m9_another_language_is_another_template() -> None:
    async with playing_meta(told=False) as play, client_of(play) as client:
        english = INTAKE.model_copy(update={"language": "en"})
        assert (await client.read_template(INTAKE, SEND.flow)).template_status.sends
        assert (await client.read_template(english, SEND.flow)).template_status is TemplateStatus.MISSING


async def test_m15_the_tables_spelling_is_a_misprint_that_nobody_takes() -> None:
    with pytest.raises(ValueError, match="nagivate_screen"):
        FlowButton.model_validate({"text": "Open form", "flow_id": FLOW, "nagivate_screen": SCREEN})
    async with playing_meta(told=False) as play:
        misprinted = await play.create(new_template(navigate_screen=None, nagivate_screen=SCREEN))
        assert refused(misprinted) == (400, 100, None)


async def test_m16_a_screen_is_required_with_navigate_and_must_be_one_of_the_flows() -> None:
    without = SPEC.model_copy(update={"button": BUTTON.model_copy(update={"navigate_screen": ""})})
    with pytest.raises(ProviderRejected, match="navigate_screen: required"):
        await Bench(in_turn()).provisioning.create_template(without)
    async with playing_meta(told=False) as play, set_up_of(play) as set_up:
        assert refused(await play.create(new_template(navigate_screen=None))) == (400, 100, None)
        stranger = BUTTON.model_copy(update={"navigate_screen": "NO_SUCH_SCREEN"})
        with pytest.raises(ProviderRejected) as caught:
            await set_up.create_template(FRESH.model_copy(update={"button": stranger}))
        assert caught.value.code == "100"
        assert ("unknown-screen", "100") in await play.reasons()


async def test_m17_the_action_is_navigate_unless_data_exchange_is_switched_on() -> None:
    exchange = FlowButton(text="Open form", flow_id=FLOW, flow_action=FlowAction.DATA_EXCHANGE)
    assert FlowButton(text="x").flow_action is FlowAction.NAVIGATE
    with pytest.raises(ProviderRejected, match="data_exchange is not switched on"):
        await Bench(in_turn()).provisioning.create_template(SPEC.model_copy(update={"button": exchange}))


TWO_SOURCES: list[tuple[FlowSource, FlowSource]] = [
    (FlowSource.ID, FlowSource.NAME),
    (FlowSource.NAME, FlowSource.JSON),
    (FlowSource.JSON, FlowSource.ID),
]


@pytest.mark.parametrize(("one", "other"), TWO_SOURCES, ids=["M18", "M19", "M21"])
async def test_a_button_names_its_flow_in_one_way_only(one: FlowSource, other: FlowSource) -> None:
    named = {FlowSource.ID: FLOW, FlowSource.NAME: "intake_flow", FlowSource.JSON: FLOW_JSON}
    button = FlowButton.model_validate(
        {"text": "Open form", "navigate_screen": SCREEN, one.value: named[one], other.value: named[other]}
    )
    with pytest.raises(ProviderRejected, match="exactly one of flow_id, flow_name and flow_json"):
        await Bench(in_turn()).provisioning.create_template(SPEC.model_copy(update={"button": button}))
    async with playing_meta(told=False) as play:
        both = new_template(**{"flow_id": None, one.value: named[one], other.value: named[other]})
        assert refused(await play.create(both)) == (400, 100, None)


async def test_m19_a_flow_goes_by_name() -> None:
    by_name = await creation(BUTTON.model_copy(update={"flow_id": "", "flow_name": "intake_flow"}))
    button = inside(by_name, *BUTTONS)
    assert isinstance(button, dict)
    assert (button["flow_name"], set(button) & {"flow_id", "flow_json"}) == ("intake_flow", set())


async def test_m20_the_template_keeps_the_id_of_a_flow_that_was_named() -> None:
    by_name = BUTTON.model_copy(update={"flow_id": "", "flow_name": "intake_flow"})
    async with playing_meta(told=False) as play, set_up_of(play) as set_up:
        made = await set_up.create_template(FRESH.model_copy(update={"button": by_name}))
        shown = (await play.api.get(made.provider_id)).json()
        button = inside(shown, "components", 1, "buttons", 0)
        assert isinstance(button, dict)
        assert (str(button["flow_id"]), "flow_name" in button) == (FLOW, False)


async def test_m21_flow_json_travels_as_text_inside_of_the_json() -> None:
    written = await creation(BUTTON.model_copy(update={"flow_id": "", "flow_json": FLOW_JSON}))

    assert inside(written, *BUTTONS, "flow_json") == FLOW_JSON
    broken = SPEC.model_copy(update={"button": BUTTON.model_copy(update={"flow_id": "", "flow_json": "{"})})
    with pytest.raises(ProviderRejected, match="flow_json: is not JSON"):
        await Bench(in_turn()).provisioning.create_template(broken)


async def test_m23_the_answer_to_a_creation_tells_id_status_and_category() -> None:
    told = answer(200, {"id": TEMPLATE_ID, "status": "PENDING", "category": "UTILITY"})
    made = await Bench(in_turn(listing(), told)).provisioning.create_template(SPEC)

    assert (made.provider_id, made.template_status) == (TEMPLATE_ID, TemplateStatus.PENDING)
    assert made.category == "UTILITY", "what comes back counts, not what was asked for"


# -- sending the template

BUTTON_PART = ("template", "components", 0)
ACTION = (*BUTTON_PART, "parameters", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("messaging_product",), "whatsapp", id="M26-product"),
        pytest.param(("recipient_type",), "individual", id="M26-recipient"),
        pytest.param(("to",), DIGITS, id="M26-to"),
        pytest.param(("type",), "template", id="M27"),
        pytest.param(("template", "name"), "intake_v1", id="M28-name"),
        pytest.param(("template", "language"), {"code": "en_US"}, id="M28-language"),
        pytest.param((*BUTTON_PART, "type"), "button", id="M29-type"),
        pytest.param((*BUTTON_PART, "sub_type"), "flow", id="M29-sub-type"),
        pytest.param((*BUTTON_PART, "index"), "0", id="M29-index"),
        pytest.param((*ACTION, "type"), "action", id="M30"),
        pytest.param((*ACTION, "action", "flow_token"), NAMES.flow_token, id="M31"),
        pytest.param((*ACTION, "action", "flow_action_data"), {"first_name": "Ada"}, id="M32"),
    ],
)
async def test_a_template_message_says(path: tuple[str | int, ...], value: JsonValue) -> None:
    assert inside(await template_send(), *path) == value


async def test_m31_the_default_token_unused_is_never_ours() -> None:
    for token in ("unused", ""):
        with pytest.raises(ProviderRejected, match="flow_token: must be unique"):
            await Bench(in_turn()).client.trigger_flow(SEND, NAMES.model_copy(update={"flow_token": token}))


async def test_m32_data_for_the_first_screen_may_be_left_out() -> None:
    bench = Bench()
    await bench.client.trigger_flow(SEND.model_copy(update={"flow": FlowRef(id=FLOW)}), NAMES)

    assert inside(bench.bodies()[0], *ACTION, "action") == {"flow_token": NAMES.flow_token}


async def test_m33_the_answer_tells_the_message_and_whom_it_went_to() -> None:
    receipt = await Bench(in_turn(taken(WAMID, "15550100099"))).client.trigger_flow(SEND, NAMES)

    assert (receipt.message_id, receipt.reference) == (WAMID, REFERENCE)
    assert receipt.aliases == (Alias(kind=AliasKind.WA_ID, value="15550100099"),)
    async with playing_meta(told=False) as play, client_of(play) as client:
        assert (await client.trigger_flow(SEND, NAMES)).aliases == (Alias(kind=AliasKind.WA_ID, value=NUMBER),)


async def test_m36_the_flow_opens_on_the_tap_and_comes_back_with_our_token() -> None:
    async with playing_meta() as play, client_of(play) as client:
        receipt = await client.trigger_flow(GREETING_SEND, NAMES)
        assert play.meta.words == []
        await play.advance(minutes=1)

        reader = MetaWebhookReader(ACCOUNT, (SecretStr(APP_SECRET),), SETTINGS)
        events = [event for hook in play.meta.told for event in reader.parse(hook.raw).events]
        [form] = [event for event in events if isinstance(event.body, FormAnswered)]
        assert (form.ties.flow_token, form.ties.replied_to) == (NAMES.flow_token, receipt.message_id)
