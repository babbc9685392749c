"""The tenant's system hears outcomes as signed Standard Webhooks."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from domain.calls import AtsNotice
from domain.errors import ProviderRejected, ProviderUnavailable, SendError, SetupError
from domain.outcomes import EngagementOutcome, EngagementResult, Settlement
from domain.topology import Account, AtsTarget, Line, Tenant, Topology
from providers.ats.client import AtsEndpoint, StandardWebhookNotifier, ats_endpoints
from tests.unit.providers.scripted_server import Reaction, answers, hangs_up, refusing_port, serving

KEY = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

RESULT = EngagementResult(
    tenant="acme",
    reference="app-1",
    settlement=Settlement(
        outcome=EngagementOutcome.COMPLETED,
        rule="flow-finished",
        reason="the candidate answered",
        at=AT,
        answers={"city": "Utrecht — Överby", "shifts": [1, 2]},
    ),
    sends=1,
)
NOTICE = AtsNotice(event_id="engagement:acme:app-1:outcome", event_type="engagement.closed", result=RESULT, at=AT)


def notifier_to(url: str, key: str = KEY) -> StandardWebhookNotifier:
    return StandardWebhookNotifier({"acme": AtsEndpoint(url, SecretStr(key))})


async def test_the_notice_is_signed_so_that_the_receivers_library_accepts_it() -> None:
    async with serving(answers(204)) as server:
        notifier = notifier_to(f"{server.url}/hook?token=abc")
        await notifier.notify("acme", NOTICE)
        await notifier.close()
        [exchange] = server.exchanges

    headers = {name: exchange.header(name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    body = Webhook(KEY).verify(exchange.body, headers)
    assert exchange.head.startswith("POST /hook?token=abc HTTP/1.1")
    assert exchange.header("content-type") == "application/json"
    assert headers["webhook-id"] == NOTICE.event_id
    assert body["type"] == "engagement.closed"
    assert body["timestamp"] == "2026-03-02T09:00:00Z"
    assert EngagementResult.model_validate(body["data"]) == RESULT
    assert json.loads(exchange.body) == body


async def test_a_repeat_has_the_same_id_and_a_fresh_signature() -> None:
    instants = iter([AT, AT + timedelta(hours=3)])
    async with serving(answers(500), answers(200)) as server:
        endpoint = AtsEndpoint(server.url, SecretStr(KEY))
        notifier = StandardWebhookNotifier({"acme": endpoint}, clock=lambda: next(instants))
        with pytest.raises(ProviderUnavailable):
            await notifier.notify("acme", NOTICE)
        await notifier.notify("acme", NOTICE)
        await notifier.close()
        first, second = server.exchanges

    assert first.header("webhook-id") == second.header("webhook-id")
    assert int(second.header("webhook-timestamp")) - int(first.header("webhook-timestamp")) == 3 * 3600
    assert first.header("webhook-signature") != second.header("webhook-signature")
    assert first.body == second.body


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_a_refusal_is_final(status: int) -> None:
    assert type(await _ending(answers(status))) is ProviderRejected


@pytest.mark.parametrize("status", [302, 408, 429, 500, 503])
async def test_what_may_pass_is_tried_again_by_the_caller(status: int) -> None:
    error = await _ending(answers(status, retry_after="7"))

    assert type(error) is ProviderUnavailable
    if status in (429, 503):
        assert error.retry_after == timedelta(seconds=7)


async def test_a_lost_answer_may_be_repeated_because_the_id_is_the_same() -> None:
    assert type(await _ending(hangs_up)) is ProviderUnavailable


async def test_a_system_that_is_down_is_unavailable_and_its_address_stays_out_of_the_error() -> None:
    notifier = notifier_to(f"http://127.0.0.1:{refusing_port()}/hook?token=very-secret")
    with pytest.raises(ProviderUnavailable) as caught:
        await notifier.notify("acme", NOTICE)
    await notifier.close()

    assert "very-secret" not in str(caught.value)
    assert "tenant acme" in str(caught.value)


async def test_a_tenant_without_an_address_is_refused() -> None:
    notifier = StandardWebhookNotifier({})
    with pytest.raises(ProviderRejected) as caught:
        await notifier.notify("acme", NOTICE)

    assert caught.value.code == "no-ats"


@pytest.mark.parametrize("key", ["", "whsec_", "whsec_é", "whsec_a"])
def test_a_key_that_cannot_sign_is_refused_at_once_without_being_shown(key: str) -> None:
    with pytest.raises(SetupError) as caught:
        notifier_to("http://127.0.0.1", key)

    assert "tenant acme" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_endpoints_come_from_the_tenants_that_name_one() -> None:
    acme = Tenant(slug="acme", ats=AtsTarget(url="https://ats.example/hook", secret="env:ATS"))
    account = Account(slug="one", provider="recrubo", credential="env:T", webhook_secrets=("env:H",))
    lines = (Line(slug="main", account="one", tenants=("acme",)),)
    topology = Topology(tenants=(acme, Tenant(slug="other")), accounts=(account,), lines=lines)

    assert ats_endpoints(topology, lambda ref: SecretStr(f"value of {ref}")) == {
        "acme": AtsEndpoint("https://ats.example/hook", SecretStr("value of env:ATS"))
    }


async def _ending(reaction: Reaction) -> SendError:
    async with serving(reaction) as server:
        notifier = notifier_to(server.url)
        with pytest.raises(SendError) as caught:
            await notifier.notify("acme", NOTICE)
        await notifier.close()
        return caught.value
