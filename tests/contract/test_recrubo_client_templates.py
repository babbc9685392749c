"""The Recrubo client reads templates; an operator sets templates and webhooks up."""

import json

import pytest
from pydantic import SecretStr

from domain.errors import ProviderRejected, Scope
from domain.model import JsonValue
from domain.plans import TemplateRef
from domain.sends import TemplateStatus
from providers.recrubo.provisioning import NEEDED_SUBSCRIPTIONS
from providers.recrubo.settings import RecruboSettings
from tests.contract.recrubo_bench import (
    INTAKE,
    INTAKE_TEXT,
    RUN,
    TEMPLATE,
    Bench,
    answer,
    in_turn,
    listing,
    run,
    template,
)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("approved", TemplateStatus.APPROVED),
        ("Approved", TemplateStatus.APPROVED),
        ("PAUSED", TemplateStatus.PAUSED),
        ("missing", TemplateStatus.UNKNOWN),
        ("splendid", TemplateStatus.UNKNOWN),
        (None, TemplateStatus.UNKNOWN),
    ],
)
async def test_template_words_are_read_without_case_and_unknown_ones_do_not_send(
    word: JsonValue, status: TemplateStatus
) -> None:
    bench = Bench(in_turn(answer(200, {"data": template(status=word)})))
    reading = await bench.client.read_template(INTAKE, None)

    assert reading.template_status is status
    assert (reading.provider_id, reading.category, reading.variables) == (TEMPLATE, "UTILITY", 2)


async def test_a_template_without_body_does_not_tell_its_variables() -> None:
    bench = Bench(in_turn(answer(200, {"data": template(components=None)})))

    assert (await bench.client.read_template(INTAKE, None)).variables is None


async def test_a_template_that_does_not_exist_reads_as_missing() -> None:
    reading = await Bench(in_turn(answer(404))).client.read_template(INTAKE, None)

    assert reading.template_status is TemplateStatus.MISSING


async def test_a_template_without_id_is_found_by_name_and_language() -> None:
    unnamed = TemplateRef(name="intake_invite", language="en")
    bench = Bench(in_turn(listing(template("nl", language="nl"), template("en"))))

    assert (await bench.client.read_template(unnamed, None)).provider_id == "en"


async def test_a_template_that_exists_already_is_looked_up_and_taken() -> None:
    detail: JsonValue = {"code": 100, "error_subcode": 2388024}
    exists = answer(400, {"errors": [{"code": "bad_request", "status": 400, "detail": detail}]})
    bench = Bench(in_turn(exists, listing(template("old-one", status="PENDING"))))
    reading = await bench.provisioning.create_template(INTAKE_TEXT)

    assert (reading.provider_id, reading.template_status) == ("old-one", TemplateStatus.PENDING)


async def test_another_refusal_of_a_template_concerns_the_template() -> None:
    with pytest.raises(ProviderRejected) as caught:
        await Bench(in_turn(answer(422))).provisioning.create_template(INTAKE_TEXT)
    assert caught.value.scope is Scope.TEMPLATE


async def test_templates_are_listed_and_deleted_and_deleting_twice_is_harmless() -> None:
    bench = Bench(in_turn(listing(template()), answer(204), answer(404)))

    assert [(t.name, t.language) for t in await bench.provisioning.list_templates()] == [("intake_invite", "en")]
    await bench.provisioning.delete_template(TEMPLATE)
    await bench.provisioning.delete_template(TEMPLATE)


async def test_erasing_a_run_empties_its_state() -> None:
    bench = Bench(in_turn(answer(200, {"data": run()})))
    await bench.provisioning.erase_state(RUN)

    data = {"type": "flowRuns", "id": RUN, "attributes": {"state": {}}}
    assert (bench.asked(), json.loads(bench.requests[0].content)) == ([f"PATCH /flow-runs/{RUN}"], {"data": data})


async def test_erasing_a_run_that_is_running_is_refused() -> None:
    with pytest.raises(ProviderRejected):
        await Bench(in_turn(answer(422))).provisioning.erase_state(RUN)


async def test_the_webhook_is_set_with_address_and_secret_together() -> None:
    bench = Bench(settings=RecruboSettings(organization_id="org-1"))
    await bench.provisioning.set_webhook("https://us.example/webhooks/recrubo/acme", SecretStr("hook-secret"))

    attributes = {"webhookUrl": "https://us.example/webhooks/recrubo/acme", "webhookSecret": "hook-secret"}
    data = {"type": "organizations", "id": "org-1", "attributes": attributes}
    assert (bench.asked(), json.loads(bench.requests[0].content)) == (["PATCH /organizations"], {"data": data})


async def test_every_needed_subscription_is_made() -> None:
    bench = Bench()

    assert await bench.provisioning.subscribe() == len(NEEDED_SUBSCRIPTIONS)
    made = [json.loads(r.content)["data"]["attributes"] for r in bench.requests]
    assert {(m["resource"], m["event"]) for m in made} == {
        ("flowRuns", "update"),
        ("messages", "create"),
        ("messages", "update"),
        ("messageTemplates", "update"),
    }


async def test_configured_subscription_bodies_are_sent_as_they_stand() -> None:
    body: dict[str, JsonValue] = {"data": {"type": "webhooks", "attributes": {"topic": "flow_runs.updated"}}}
    bench = Bench(settings=RecruboSettings(webhook_bodies=(body,)))

    assert await bench.provisioning.subscribe() == 1
    assert [json.loads(r.content) for r in bench.requests] == [body]
