"""Submitting a template: one request, its ending named, and what was submitted reads back at the simulators."""

import json

import httpx
import pytest

from domain.errors import NotSent, OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope
from domain.model import JsonValue
from domain.ports import MessagingProvider
from domain.sends import TemplateStatus
from domain.templates import ButtonType, TemplateButton, TemplateCategory, TemplateSpecification
from tests.contract import meta_bench, recrubo_bench, truora_bench
from tests.contract.specifications import FORM, INVITATION

Bench = meta_bench.Bench | recrubo_bench.Bench
Provider = tuple[str, TemplateSpecification]

META: Provider = ("meta", FORM)
RECRUBO: Provider = ("recrubo", INVITATION)
both = pytest.mark.parametrize(("provider", "specification"), [META, RECRUBO], ids=["meta", "recrubo"])


def bench(provider: str, *endings: httpx.Response | Exception) -> Bench:
    if provider == "meta":
        return meta_bench.Bench(meta_bench.in_turn(*endings))
    return recrubo_bench.Bench(recrubo_bench.in_turn(*endings))


def created(provider: str) -> httpx.Response:
    if provider == "meta":
        return meta_bench.answer(200, {"id": "1689550000000009", "status": "PENDING", "category": "MARKETING"})
    told = recrubo_bench.template("tpl-9", status="PENDING", category="Marketing")
    return recrubo_bench.answer(201, {"data": told})


def exists(provider: str) -> httpx.Response:
    if provider == "meta":
        return meta_bench.refusal(400, 100, 2388024)
    detail: JsonValue = {"code": 100, "error_subcode": 2388024}
    return recrubo_bench.answer(400, {"errors": [{"code": "bad_request", "status": 400, "detail": detail}]})


def listed(provider: str, *specifications: TemplateSpecification) -> httpx.Response:
    names = [{"name": one.name, "language": one.language} for one in specifications]
    if provider == "meta":
        return meta_bench.listing(*(meta_bench.template(**name) for name in names))
    return recrubo_bench.listing(*(recrubo_bench.template(**name) for name in names))


@both
async def test_a_submission_is_one_request_whose_answer_is_as_good_as_a_look(
    provider: str, specification: TemplateSpecification
) -> None:
    asked = bench(provider, created(provider))
    reading = await asked.client.submit_template(specification)

    assert len(asked.requests) == 1
    assert reading.template_status is TemplateStatus.PENDING
    assert reading.provider_id
    assert reading.category == "MARKETING"  # moved by the provider, in whichever case it writes it


async def test_meta_gets_texts_examples_and_buttons_in_their_order() -> None:
    asked = bench("meta", created("meta"))
    await asked.client.submit_template(FORM)

    assert json.loads(asked.requests[0].content) == {
        "name": "shift_form",
        "language": "en_US",
        "category": "UTILITY",
        "parameter_format": "NAMED",
        "components": [
            {"type": "HEADER", "format": "TEXT", "text": "Your shifts"},
            {
                "type": "body",
                "text": FORM.body,
                "example": {
                    "body_text_named_params": [
                        {"param_name": "first_name", "example": "Ada"},
                        {"param_name": "company", "example": "Acme"},
                    ]
                },
            },
            {"type": "FOOTER", "text": "Reply STOP to opt out"},
            {
                "type": "BUTTONS",
                "buttons": [
                    {
                        "type": "FLOW",
                        "text": "Open form",
                        "flow_action": "navigate",
                        "navigate_screen": "WELCOME_SCREEN",
                        "flow_id": "900000000000001",
                    },
                    {"type": "QUICK_REPLY", "text": "Not now"},
                ],
            },
        ],
    }


@pytest.mark.parametrize(
    ("category", "word"),
    [
        (TemplateCategory.UTILITY, "UTILITY"),
        (TemplateCategory.MARKETING, "MARKETING"),
        (TemplateCategory.AUTHENTICATION, "Authorization"),
    ],
)
async def test_recrubo_gets_texts_examples_and_its_own_word_for_the_category(
    category: TemplateCategory, word: str
) -> None:
    told = recrubo_bench.template("tpl-9", status="PENDING", category=word)
    asked = bench("recrubo", recrubo_bench.answer(201, {"data": told}))
    reading = await asked.client.submit_template(INVITATION.model_copy(update={"category": category}))

    assert reading.category == category.value
    assert json.loads(asked.requests[0].content)["data"] == {
        "type": "messageTemplates",
        "attributes": {
            "name": "shift_invitation",
            "language": "en",
            "category": word,
            "components": [
                {"type": "HEADER", "format": "Text", "text": "Your application"},
                {"type": "BODY", "text": INVITATION.body, "example": {"body_text": [["Ada", "welder"]]}},
                {"type": "FOOTER", "text": "Reply STOP to opt out"},
            ],
            "preview": INVITATION.body,
        },
    }


@both
@pytest.mark.parametrize(
    "lost",
    [
        httpx.ReadTimeout("lost"),
        httpx.RemoteProtocolError("lost"),
        httpx.WriteError("lost"),
        httpx.Response(502),
        httpx.Response(408),
        httpx.Response(200, content=b"not json"),
    ],
    ids=["read-timeout", "closed", "write", "502", "408", "no-id"],
)
async def test_a_lost_answer_to_a_submission_leaves_its_outcome_unknown(
    provider: str, specification: TemplateSpecification, lost: httpx.Response | Exception
) -> None:
    asked = bench(provider, lost)
    with pytest.raises(OutcomeUnknown):
        await asked.client.submit_template(specification)


@both
@pytest.mark.parametrize(
    ("ending", "scope"),
    [(httpx.ConnectError("no"), Scope.ACCOUNT), (httpx.Response(429, headers={"retry-after": "7"}), Scope.ACCOUNT)],
    ids=["connect", "429"],
)
async def test_what_never_arrived_may_be_submitted_again(
    provider: str, specification: TemplateSpecification, ending: httpx.Response | Exception, scope: Scope
) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        await bench(provider, ending).client.submit_template(specification)
    assert caught.value.scope is scope


@both
@pytest.mark.parametrize(
    ("status", "scope"), [(400, Scope.TEMPLATE), (422, Scope.TEMPLATE), (401, Scope.ACCOUNT), (302, Scope.ACCOUNT)]
)
async def test_a_refused_submission_concerns_the_template_unless_it_concerns_the_account(
    provider: str, specification: TemplateSpecification, status: int, scope: Scope
) -> None:
    with pytest.raises(ProviderRejected) as caught:
        await bench(provider, httpx.Response(status)).client.submit_template(specification)
    assert caught.value.scope is scope


@pytest.mark.parametrize(
    ("code", "subcode", "scope"),
    [(100, None, Scope.TEMPLATE), (190, None, Scope.ACCOUNT), (100, 33, Scope.ACCOUNT), (132007, None, Scope.TEMPLATE)],
)
async def test_metas_codes_decide_what_a_refusal_concerns_and_it_is_never_a_line(
    code: int, subcode: int | None, scope: Scope
) -> None:
    with pytest.raises(ProviderRejected) as caught:
        await bench("meta", meta_bench.refusal(400, code, subcode)).client.submit_template(FORM)
    assert caught.value.scope is scope


async def test_metas_limit_of_creations_holds_the_account() -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        await bench("meta", meta_bench.refusal(429, 80007)).client.submit_template(FORM)
    assert caught.value.scope is Scope.ACCOUNT


@both
async def test_a_name_that_exists_is_taken_up_as_it_stands(provider: str, specification: TemplateSpecification) -> None:
    asked = bench(provider, exists(provider), listed(provider, specification))
    reading = await asked.client.submit_template(specification)

    assert reading.template_status is TemplateStatus.APPROVED
    assert [request.method for request in asked.requests] == ["POST", "GET"]


@both
@pytest.mark.parametrize("look", ["empty", "lost", "refused"])
async def test_a_name_that_exists_and_cannot_be_shown_is_never_submitted_again_by_itself(
    provider: str, specification: TemplateSpecification, look: str
) -> None:
    endings: dict[str, httpx.Response | Exception] = {
        "empty": listed(provider),
        "lost": httpx.ReadTimeout("lost"),
        "refused": httpx.Response(403),
    }
    with pytest.raises(OutcomeUnknown) as caught:
        await bench(provider, exists(provider), endings[look]).client.submit_template(specification)

    assert (caught.value.code, caught.value.scope) == ("100/2388024", Scope.TEMPLATE)


@both
async def test_a_faulty_specification_never_leaves_and_every_fault_is_named(
    provider: str, specification: TemplateSpecification
) -> None:
    asked = bench(provider)
    faulty = specification.model_copy(
        update={
            "name": "Shift Form",
            "body": "Hi {{first}} and {{second}}",
            "examples": {"first": "Ada"},
            "buttons": (TemplateButton(type=ButtonType.FLOW, text="Open form"),),
        }
    )
    with pytest.raises(ProviderRejected) as caught:
        await asked.client.submit_template(faulty)

    assert (caught.value.code, caught.value.scope) == ("faulty-specification", Scope.TEMPLATE)
    assert all(part in str(caught.value) for part in ("name:", "examples:", "buttons"))
    assert asked.requests == []


async def test_truora_makes_templates_in_its_dashboard_only() -> None:
    asked = truora_bench.Bench(truora_bench.in_turn())
    with pytest.raises(ProviderRejected, match=r"cannot create a template: .* dashboard") as caught:
        await asked.client.submit_template(FORM)

    assert caught.value.scope is Scope.TEMPLATE
    assert asked.requests == []
    assert isinstance(caught.value, NotSent)


def test_every_client_is_a_messaging_provider() -> None:
    clients: list[MessagingProvider] = [
        meta_bench.Bench().client,
        recrubo_bench.Bench().client,
        truora_bench.Bench().client,
    ]
    assert [client.capabilities.can_create_templates for client in clients] == [True, True, False]
