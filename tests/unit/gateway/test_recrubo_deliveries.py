"""Recrubo's own deliveries through the whole gateway."""

import json
from datetime import timedelta

import httpx
from pydantic import SecretStr

from domain.contacts import OptOutScope
from gateway.reading import Receiving
from providers.recrubo.settings import RecruboSettings
from providers.recrubo.webhook import SECRET_HEADER, RecruboWebhookReader
from store.inbox_tables import EventState
from store.leave import Reach, opt_out_in_force
from tests.unit.gateway.world import PHONE, FakeTemporal, Running, World, now, number, parts_of, running, thread
from tests.unit.store.samples import a_close

SHOWN = "test-recrubo-webhook-secret"


def recrubo() -> Receiving:
    reader = RecruboWebhookReader("main", (SecretStr(SHOWN),), RecruboSettings())
    return Receiving("recrubo", "main", ("nl-1",), reader)


async def post(gateway: Running, resource_type: str, event: str, id_: str, **attributes: object) -> httpx.Response:
    resource = {"id": id_, "type": resource_type, "attributes": {"updatedAt": now().isoformat(), **attributes}}
    told = {"webhookId": "5e5e5e5e", "event": event, "fields": ["status"], "resource": resource}
    body = json.dumps({"data": {"type": "webhookPayload", "id": "b6445194", "attributes": told}}).encode()
    url = f"{gateway.webhooks}/webhooks/recrubo/main"
    return await gateway.client.post(url, content=body, headers={"X-Recrubo-Webhook-Secret": SHOWN})


async def test_a_finished_run_is_tied_by_our_reference_before_its_id_is_known(
    world: World, temporal: FakeTemporal
) -> None:
    workflow = await world.engaged("a-1")
    claim = await world.claimed(workflow, thread_id="thread-1")
    async with running(parts_of(world.stores, temporal, recrubo())) as gateway:
        state = {"clientReference": claim.names.reference, "city": "Quito"}
        answer = await post(
            gateway, "flowRuns", "update", "run-1", status="finished", state=state, messageThreadId="thread-1"
        )
        await temporal.until(lambda: len(temporal.heard[workflow]) == 1)
    assert answer.status_code == 200
    (heard,) = temporal.heard[workflow]
    assert heard.send_key == claim.key
    assert heard.body.kind == "flow-run"
    assert heard.body.answers == {"city": "Quito"}


async def test_a_foreign_run_on_our_thread_is_nobodys(world: World, temporal: FakeTemporal) -> None:
    await world.sent("a-1", thread_id="thread-1", run_id="ours")
    async with running(parts_of(world.stores, temporal, recrubo())) as gateway:
        await post(
            gateway, "flowRuns", "update", "foreign", status="timeout", flowId="flow-1", messageThreadId="thread-1"
        )
        await world.until_states({EventState.UNMATCHED: 1})
    assert not temporal.heard


async def test_stop_on_a_thread_withdraws_leave_and_is_heard(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.sent("a-1", thread_id="thread-1", run_id="run-1")
    contact = await world.stores.contacts.resolve([number(PHONE), thread("thread-1")])
    message = {"type": "text", "text": {"value": " Stop! "}}
    async with running(parts_of(world.stores, temporal, recrubo())) as gateway:
        await post(gateway, "messages", "create", "m-1", origin="inbound", messageThreadId="thread-1", payload=message)
        await temporal.until(lambda: len(temporal.heard[workflow]) == 1)
    reach = Reach(tenant="acme", line="nl-1")
    scope = await world.stores.database.read(lambda connection: opt_out_in_force(connection, contact, reach))
    assert scope is OptOutScope.LINE
    assert temporal.heard[workflow][0].body.kind == "opt-out"


async def test_a_status_after_the_last_engagement_on_its_thread_was_over_is_recorded_as_late(
    world: World, temporal: FakeTemporal
) -> None:
    await world.sent("a-1", thread_id="thread-1", run_id="run-1")
    contact = await world.stores.contacts.resolve([number(PHONE), thread("thread-1")])
    await world.stores.registry.close(a_close(contact, reference="a-1"))
    told = {"origin": "outbound", "messageThreadId": "thread-1", "deliveryStatus": "read"}
    async with running(parts_of(world.stores, temporal, recrubo())) as gateway:
        await post(gateway, "messages", "update", "m-1", createdAt=now().isoformat(), **told)
        await world.until_states({EventState.LATE: 1})
    assert not temporal.heard


async def test_recrubo_has_no_handshake(world: World, temporal: FakeTemporal) -> None:
    assert SECRET_HEADER == "x-recrubo-webhook-secret"
    async with running(parts_of(world.stores, temporal, recrubo())) as gateway:
        answer = await gateway.client.get(f"{gateway.webhooks}/webhooks/recrubo/main")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_late_word_about_an_ended_engagements_message_does_not_move_the_next_one_on_the_thread(
    world: World, temporal: FakeTemporal
) -> None:
    await world.sent("a-1", thread_id="thread-1", run_id="run-1")  # just now: the message below is older
    async with running(parts_of(world.stores, temporal, recrubo())) as gateway:
        told = {"origin": "outbound", "messageThreadId": "thread-1", "deliveryStatus": "read"}
        made = (now() - timedelta(hours=1)).isoformat()
        await post(gateway, "messages", "update", "m-0", createdAt=made, **told)
        await world.until_states({EventState.UNMATCHED: 1})
        await post(gateway, "messages", "update", "m-1", createdAt=now().isoformat(), **told)
        await world.until_states({EventState.UNMATCHED: 1, EventState.RELAYED: 1})
    (heard,) = [event for events in temporal.heard.values() for event in events]
    assert heard.ties.message_id == "m-1"
