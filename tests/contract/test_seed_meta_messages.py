"""Meta's guide *Sending a Flow*, statement by statement: interactive flow messages of docs/seed-coverage.md."""

import json

import pytest

from domain.contacts import Alias, AliasKind
from domain.errors import ProviderRejected
from domain.model import JsonValue
from domain.plans import FlowRef
from providers.meta.messages import FlowMode
from providers.meta.settings import BASE_URL, MetaSettings
from sandbox.meta.settings import MetaFlow
from tests.contract.meta_bench import (
    FLOW,
    INTAKE,
    INTERACTIVE,
    NAMES,
    SCREEN,
    SEND,
    WABA,
    Bench,
    answer,
    in_turn,
    inside,
    listing,
    template,
)
from tests.contract.meta_play import client_of, flow_send
from tests.unit.sandbox.meta_playground import (
    NUMBER,
    TEMPLATES,
    account,
    playing_meta,
    refused,
)


async def test_m34_a_flow_message_goes_out_after_the_candidate_wrote_and_not_before() -> None:
    async with playing_meta(told=False) as play, client_of(play) as client:
        with pytest.raises(ProviderRejected, match="use a template") as caught:
            await client.send_interactive_flow(INTERACTIVE, NAMES)
        assert caught.value.code == "131047"

        await play.write()
        assert (await client.send_interactive_flow(INTERACTIVE, NAMES)).message_id
        await play.advance(seconds=2)
        assert await play.count(f"phones/{NUMBER}", kind="interactive") == 1


async def test_m35_and_m53_only_the_cloud_api_is_asked_and_the_other_kind_of_answer_is_read() -> None:
    assert MetaSettings(waba_id=WABA, verify_token="env:X").base_url == BASE_URL == "https://graph.facebook.com"
    seed: JsonValue = {
        "contacts": [{"Input": "+447000000001", "wa_id": "47000000001"}],
        "messages": [{"id": "gHTRETHRTHTRTH-fake"}],
        "meta": {"api_status": "stable", "version": "2.44.0.27"},
    }
    receipt = await Bench(in_turn(answer(200, seed))).client.send_interactive_flow(INTERACTIVE, NAMES)
    assert receipt.message_id == "gHTRETHRTHTRTH-fake"
    assert receipt.aliases == (Alias(kind=AliasKind.WA_ID, value="47000000001"),)

    async with playing_meta(account(answer_style="on-premises"), told=False) as play, client_of(play) as client:
        assert (await client.trigger_flow(SEND, NAMES)).message_id


INTERACTIVE_ACTION = ("interactive", "action")
PARAMETERS = (*INTERACTIVE_ACTION, "parameters")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("interactive", "type"), "flow", id="M38"),
        pytest.param((*PARAMETERS, "mode"), "published", id="M40"),
        pytest.param(("type",), "interactive", id="M43"),
        pytest.param(("interactive", "header"), {"type": "text", "text": "Intake"}, id="M44-header"),
        pytest.param(("interactive", "body"), {"text": "Two minutes, promise"}, id="M44-body"),
        pytest.param(("interactive", "footer"), {"text": "Reply STOP to opt out"}, id="M44-footer"),
        pytest.param((*INTERACTIVE_ACTION, "name"), "flow", id="M45"),
        pytest.param((*PARAMETERS, "flow_message_version"), "3", id="M46"),
        pytest.param((*PARAMETERS, "flow_token"), NAMES.flow_token, id="M47"),
        pytest.param((*PARAMETERS, "flow_id"), FLOW, id="M48"),
        pytest.param((*PARAMETERS, "flow_cta"), "Start", id="M49"),
        pytest.param((*PARAMETERS, "flow_action"), "navigate", id="M50"),
        pytest.param((*PARAMETERS, "flow_action_payload", "screen"), SCREEN, id="M51"),
        pytest.param(
            (*PARAMETERS, "flow_action_payload", "data"), {"first_name": "Ada", "vacancy_rate": 100}, id="M52"
        ),
    ],
)
async def test_a_flow_message_says(path: tuple[str | int, ...], value: JsonValue) -> None:
    found = inside(await flow_send(), *path)

    assert found == value
    assert json.dumps(found) == json.dumps(value), "a number stays a number"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(("interactive", "type"), id="M38"),
        pytest.param(("interactive", "action"), id="M39"),
        pytest.param((*INTERACTIVE_ACTION, "name"), id="M45"),
        pytest.param((*PARAMETERS, "flow_message_version"), id="M46"),
        pytest.param((*PARAMETERS, "flow_id"), id="M48"),
        pytest.param((*PARAMETERS, "flow_cta"), id="M49"),
    ],
)
async def test_without_a_required_member_the_sandbox_refuses_a_flow_message(path: tuple[str, ...]) -> None:
    document = await flow_send()
    owner = inside(document, *path[:-1])
    assert isinstance(owner, dict)
    del owner[path[-1]]
    assert isinstance(document, dict)
    async with playing_meta(told=False) as play:
        await play.write()
        status, code, _ = refused(await play.send(document))
        assert (status, code in (131008, 131009)) == (400, True)
        assert await play.count("meta/messages") == 0


async def test_m40_a_draft_opens_only_when_the_message_says_draft() -> None:
    unpublished = account(
        flows=(MetaFlow(id=FLOW, name="intake_flow", screens=(SCREEN,), status="DRAFT"),), templates=TEMPLATES
    )
    async with playing_meta(unpublished, told=False) as play, client_of(play) as client:
        await play.write()
        with pytest.raises(ProviderRejected):
            await client.send_interactive_flow(INTERACTIVE, NAMES)
        trial = INTERACTIVE.model_copy(update={"mode": FlowMode.DRAFT})
        assert (await client.send_interactive_flow(trial, NAMES)).message_id


async def test_m41_the_entry_screen_is_the_flows_own_where_the_plan_names_none_and_a_strange_one_is_refused() -> None:
    async with playing_meta(told=False) as play, client_of(play) as client:
        await play.write()
        own = INTERACTIVE.model_copy(update={"screen": ""})
        assert (await client.send_interactive_flow(own, NAMES)).message_id
        with pytest.raises(ProviderRejected):
            await client.send_interactive_flow(INTERACTIVE.model_copy(update={"screen": "NO_SUCH"}), NAMES)
    other = SEND.model_copy(update={"flow": FlowRef(id=FLOW, screen="NO_SUCH")})
    with pytest.raises(ProviderRejected, match=r"flow\.screen"):
        await Bench(in_turn(listing(template()))).client.read_template(INTAKE, other.flow)


async def test_m48_a_flow_message_names_its_flow_by_name_or_by_id_and_not_by_both() -> None:
    by_name = inside(await flow_send(flow_id="", flow_name="intake_flow"), *PARAMETERS)
    assert isinstance(by_name, dict)
    assert (by_name["flow_name"], "flow_id" in by_name) == ("intake_flow", False)
    for both in ({"flow_name": "intake_flow"}, {"flow_id": ""}):
        message = INTERACTIVE.model_copy(update=both)
        with pytest.raises(ProviderRejected, match="exactly one of flow_id and flow_name"):
            await Bench(in_turn()).client.send_interactive_flow(message, NAMES)
