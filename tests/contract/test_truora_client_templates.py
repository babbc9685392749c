"""Reading outbounds: when one may be sent, and which plan does not fit it."""

import httpx
import pytest

from domain.errors import ProviderRejected, ProviderUnavailable, Scope
from domain.model import JsonValue
from domain.plans import FlowRef
from domain.sends import TemplateReading, TemplateStatus
from providers.truora.settings import TruoraSettings
from tests.contract.truora_bench import (
    FLOW,
    INTAKE,
    LINE_DIGITS,
    OUTBOUND,
    REMINDER,
    Bench,
    answer,
    in_turn,
    outbound,
)


async def reading(
    told: dict[str, JsonValue], flow: FlowRef | None, settings: TruoraSettings | None = None
) -> TemplateReading:
    return await Bench(in_turn(answer(200, told)), settings).client.read_template(INTAKE, flow)


async def misfit(told: dict[str, JsonValue], flow: FlowRef | None, settings: TruoraSettings | None = None) -> str:
    with pytest.raises(ProviderRejected) as caught:
        await reading(told, flow, settings)
    assert (caught.value.code, caught.value.scope) == ("template-misfit", Scope.MESSAGE)
    return str(caught.value)


async def test_an_approved_outbound_that_fits_may_be_sent() -> None:
    read = await reading(outbound(), FlowRef(id=FLOW))

    assert read.template_status is TemplateStatus.APPROVED
    assert (read.variables, read.flow_missing, read.provider_id) == (2, False, OUTBOUND)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("approved", TemplateStatus.APPROVED),
        ("PENDING", TemplateStatus.PENDING),
        ("REJECTED", TemplateStatus.REJECTED),
        ("PAUSED", TemplateStatus.UNKNOWN),
        ("approved_soon", TemplateStatus.UNKNOWN),
        ("", TemplateStatus.UNKNOWN),
    ],
)
async def test_only_the_word_approved_sends(word: str, status: TemplateStatus) -> None:
    read = await reading(outbound(outbound_status=word, failure_reason="INVALID_FORMAT"), FlowRef(id=FLOW))

    assert read.template_status is status
    assert (read.raw_status, read.reason) == (word, "INVALID_FORMAT")


async def test_further_status_words_can_be_configured() -> None:
    settings = TruoraSettings.model_validate({"status_words": {"Paused": "PAUSED"}})
    read = await reading(outbound(outbound_status="PAUSED"), FlowRef(id=FLOW), settings)

    assert read.template_status is TemplateStatus.PAUSED


async def test_an_outbound_that_does_not_exist_reads_as_missing() -> None:
    read = await Bench(in_turn(answer(404, {"message": "The Outbound was not found"}))).client.read_template(
        INTAKE, None
    )

    assert read.template_status is TemplateStatus.MISSING


@pytest.mark.parametrize("told", [None, [], {}, {"outbound_id": ""}, {"outbound_id": "OTB9"}])
async def test_an_answer_about_nothing_or_another_outbound_is_asked_for_again(told: JsonValue) -> None:
    with pytest.raises(ProviderUnavailable):
        await Bench(in_turn(answer(200, told))).client.read_template(INTAKE, None)


async def test_a_plan_without_outbound_id_is_refused_before_the_call() -> None:
    with pytest.raises(ProviderRejected, match="outbound_id"):
        await Bench(in_turn()).client.read_template(INTAKE.model_copy(update={"id": ""}), None)


@pytest.mark.parametrize(
    ("default", "flow", "missing"),
    [
        ("", FlowRef(), True),
        ("undefined", FlowRef(), True),
        ("", None, True),
        (FLOW, FlowRef(), False),
        ("", FlowRef(id=FLOW), False),
    ],
)
async def test_a_flow_outbound_needs_a_flow_from_the_plan_or_of_its_own(
    default: str, flow: FlowRef | None, *, missing: bool
) -> None:
    assert (await reading(outbound(default_flow_id=default), flow)).flow_missing is missing


async def test_a_notification_needs_no_flow() -> None:
    told = outbound(REMINDER.id, is_notification=True, outbound_message="Your interview is tomorrow.")
    read = await Bench(in_turn(answer(200, told))).client.read_template(REMINDER, None)

    assert (read.template_status.sends, read.flow_missing, read.variables) == (True, False, 0)


@pytest.mark.parametrize(
    ("told", "flow", "field"),
    [
        (outbound(is_notification=True), FlowRef(id=FLOW), "is_notification"),
        (outbound(default_flow_id=FLOW), None, "flow_id"),
        (outbound(outbound_message="Hi {{.name}}"), FlowRef(id=FLOW), "var.lastname: the plan gives it"),
        (
            outbound(outbound_message="{{.name}} {{ .lastname }} {{.city}} {{.city}}"),
            FlowRef(id=FLOW),
            "var.city: the outbound needs it",
        ),
        (outbound(waba_phone_number="+15550199999"), FlowRef(id=FLOW), "waba_phone_number"),
    ],
)
async def test_a_plan_that_does_not_fit_is_refused_and_the_field_named(
    told: dict[str, JsonValue], flow: FlowRef | None, field: str
) -> None:
    text = await misfit(told, flow)

    assert field in text
    assert "15550" not in text


async def test_everything_that_does_not_fit_is_told_at_once() -> None:
    text = await misfit(outbound(outbound_message="{{.city}}", waba_phone_number="+15550199999"), FlowRef())

    named = ("var.city", "var.name", "var.lastname", "waba_phone_number", "flow_id")
    assert [field for field in named if field not in text] == []


async def test_a_plan_that_does_not_fit_may_wait_for_the_approval_all_the_same() -> None:
    assert not (await reading(outbound(outbound_status="PENDING", outbound_message="x"), None)).template_status.sends


async def test_a_masked_number_is_compared_with_nothing() -> None:
    assert (await reading(outbound(waba_phone_number="+194XXXXXXXX"), FlowRef(id=FLOW))).template_status.sends


async def test_variables_may_come_from_the_configuration_instead() -> None:
    configured = TruoraSettings(variables={OUTBOUND: ("name", "lastname")})
    unread = TruoraSettings(read_variables=False)
    shown = outbound(outbound_message="Hi Ada Lovelace! | [Continue]")

    assert (await reading(shown, FlowRef(id=FLOW), configured)).variables == 2
    assert (await reading(shown, FlowRef(id=FLOW), unread)).variables is None
    assert (await reading(outbound(outbound_message=None), FlowRef(id=FLOW))).variables is None
    assert "var.name" in await misfit(outbound(), FlowRef(id=FLOW), TruoraSettings(variables={OUTBOUND: ("lastname",)}))


async def test_the_list_of_a_line_is_asked_for_by_digits_without_plus() -> None:
    bench = Bench(in_turn(answer(200, [outbound(), "broken", {"outbound_name": "without id"}, outbound("OTB3")])))
    found = await bench.client.list_outbounds("main")

    assert [item.outbound_id for item in found] == [OUTBOUND, "OTB3"], "one bad element drops no other"
    assert bench.requests[0].url.query == f"line={LINE_DIGITS}".encode()
    assert [a.action for a in found[0].outbound_answers] == ["continue_process", "cancel_process"]


@pytest.mark.parametrize("line", ["", f"+{LINE_DIGITS}", "1555 0100000", "055501000", "12", "١٢٣٤٥٦٧٨"])
async def test_a_line_that_is_no_digits_is_refused_before_the_call(line: str) -> None:
    with pytest.raises(ProviderRejected, match="line: must be"):
        await Bench(in_turn()).outbounds.of_line(line)
    with pytest.raises(ProviderRejected, match="line: must be"):
        await Bench(in_turn()).client.list_outbounds("no-such-line")


@pytest.mark.parametrize("told", [{"data": []}, None, "x", {"outbounds": [outbound()]}])
async def test_a_list_that_is_no_bare_array_is_an_error_and_never_nothing_there(told: JsonValue) -> None:
    with pytest.raises(ProviderUnavailable):
        await Bench(in_turn(answer(200, told))).client.list_outbounds("main")


async def test_an_id_is_one_segment_of_the_path_whatever_it_holds() -> None:
    bench = Bench(lambda _r: httpx.Response(500))
    with pytest.raises(ProviderUnavailable):
        await bench.outbounds.one("OTB%2e+é")

    assert bench.requests[0].url.raw_path == b"/v1/whatsapp/outbounds/OTB%252e%2B%C3%A9"
