"""Events about templates and flows: what they change for every send, and which gates hear of them."""

import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from pydantic import SecretStr
from temporalio import workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from domain.errors import PolicyRefused, Scope
from domain.events import FlowChanged, ProviderEvent, ProviderEvents, TemplateChanged
from domain.holds import HoldRow
from domain.ids import flow_scope
from domain.plans import TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from gateway.process import GatewayParts
from gateway.reading import Receiving
from gateway.relay import Handover, TemporalSignaller
from providers.meta.settings import MetaSettings
from providers.meta.webhook import MetaWebhookReader
from runtime.dev_server import DevServer
from store.inbox_tables import EventState
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.gateway.world import FakeTemporal, Running, World, event, now, parts_of, running

DUTCH = TemplateRef(name="hello", language="nl")
ENGLISH = TemplateRef(name="hello", language="en")
GATES = {"nl": "gate:template:main:hello:nl", "en": "gate:template:main:hello:en"}
FLOW_GATE = "gate:flow:main:flow-1"
FLOW = flow_scope("main", "flow-1")
MINUTE = timedelta(minutes=1)


def _approved(provider_id: str) -> TemplateReading:
    return TemplateReading(template_status=TemplateStatus.APPROVED, provider_id=provider_id)


def _told(word: str = "PAUSED", template_id: str = "", name: str = "", language: str = "") -> ProviderEvent:
    body = TemplateChanged(template_id=template_id, name=name, language=language, event=word)
    return event(f"template:{word}", body)


def _flow(new: str, at: datetime, flow_id: str = "flow-1") -> ProviderEvent:
    return event(f"flow:{flow_id}:{new}:{at}", FlowChanged(flow_id=flow_id, new=new), at=at)


@pytest.fixture
async def stores(url: str, keys: KeyRing) -> AsyncIterator[Stores]:
    """On SQLite and PostgreSQL: long ids and locks differ."""
    async with Stores.open(url, keys) as opened:
        yield opened


@pytest.fixture
async def known(world: World) -> World:
    """Two languages of one template that were read before."""
    await world.stores.templates.write("main", DUTCH, _approved("p-nl"), now())
    await world.stores.templates.write("main", ENGLISH, _approved("p-en"), now())
    await world.stores.templates.write("other", DUTCH, _approved("p-nl"), now())
    return world


@pytest.mark.parametrize(
    ("told", "languages"),
    [
        (_told(template_id="p-nl"), ["nl"]),
        (_told(name="hello", language="en"), ["en"]),
        (_told(name="hello"), ["en", "nl"]),
        (_told(template_id="p-nl", name="hello", language="en"), ["en", "nl"]),
    ],
)
async def test_the_gate_of_every_template_that_is_meant_hears_at_once(
    known: World, temporal: FakeTemporal, told: ProviderEvent, languages: list[str]
) -> None:
    async with running(parts_of(known.stores, temporal)) as gateway:
        await gateway.post(told)
        await gateway.post(told)
        await known.until_states({EventState.RELAYED: len(languages)})
        await known.until_read()
    assert {gate: temporal.heard[gate] for gate in temporal.heard} == {GATES[one]: [told] for one in languages}
    stale = [one.language for one in await known.stores.templates.all() if one.stale]
    assert stale == languages


async def test_a_gate_that_is_not_there_waits_for_nothing(known: World, temporal: FakeTemporal) -> None:
    temporal.endings[GATES["nl"]] = Handover.CLOSED
    async with running(parts_of(known.stores, temporal)) as gateway:
        await gateway.post(_told(template_id="p-nl"))
        await known.until_states({EventState.NO_EFFECT: 1})
    (settled,) = await known.review.list(EventState.NO_EFFECT)
    assert settled.rule == "no-gate"
    assert await known.stores.templates.read("main", DUTCH) is None


async def test_a_template_that_nobody_read_before_has_no_gate(known: World, temporal: FakeTemporal) -> None:
    async with running(parts_of(known.stores, temporal)) as gateway:
        await gateway.post(_told(template_id="p-fr", name="other", language="fr"))
        await known.until_states({EventState.NO_EFFECT: 1})
    (settled,) = await known.review.list(EventState.NO_EFFECT)
    assert settled.rule == "by-kind"
    assert not temporal.tries


async def test_a_gate_that_cannot_be_told_now_does_not_hold_up_another_one(
    known: World, temporal: FakeTemporal
) -> None:
    temporal.endings[GATES["en"]] = Handover.NOT_NOW
    async with running(parts_of(known.stores, temporal)) as gateway:
        await gateway.post(_told(name="hello"))
        await temporal.until(lambda: len(temporal.heard[GATES["nl"]]) == 1 and temporal.tries[GATES["en"]] == 1)
        del temporal.endings[GATES["en"]]
        await known.until_states({EventState.RELAYED: 2})
    assert temporal.keys(GATES["en"]) == ["template:PAUSED"]


async def test_a_gate_with_the_longest_name_that_a_template_may_have_hears_too(
    world: World, temporal: FakeTemporal
) -> None:
    long = TemplateRef(name="n" * 512, language="nl")
    await world.stores.templates.write("main", long, _approved("p-1"), now())
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(_told(template_id="p-1"))
        await world.until_states({EventState.RELAYED: 1})
    assert list(temporal.heard) == [f"gate:template:main:{'n' * 512}:nl"]


async def test_after_a_webhook_nothing_leaves_on_a_template_until_it_was_read_again(
    known: World, temporal: FakeTemporal
) -> None:
    workflow_id = await known.engaged("a-1")
    async with running(parts_of(known.stores, temporal)) as gateway:
        await gateway.post(_told(name="hello", language="nl"))
        await known.until_states({EventState.RELAYED: 1})
    with pytest.raises(PolicyRefused) as raised:
        await known.claimed(workflow_id)
    assert (raised.value.code, raised.value.scope) == ("template", Scope.TEMPLATE)
    await known.stores.templates.write("main", DUTCH, _approved("p-nl"), now() - MINUTE)
    with pytest.raises(PolicyRefused):
        await known.claimed(workflow_id)
    await known.stores.templates.write("main", DUTCH, _approved("p-nl"), now())
    assert (await known.claimed(workflow_id)).attempt == 1


async def test_a_provider_whose_clock_is_ahead_does_not_keep_a_template_stale(
    known: World, temporal: FakeTemporal
) -> None:
    ahead = event("ahead", TemplateChanged(template_id="p-nl", event="APPROVED"), at=now() + 60 * MINUTE)
    async with running(parts_of(known.stores, temporal)) as gateway:
        await gateway.post(ahead)
        await known.until_states({EventState.RELAYED: 1})
    await known.stores.templates.write("main", DUTCH, _approved("p-nl"), now())
    assert await known.stores.templates.read("main", DUTCH) is not None


@pytest.mark.parametrize("ahead", [-10 * MINUTE, 10 * MINUTE], ids=["told-late", "clock-ahead"])
async def test_a_flow_that_is_not_published_holds_its_sends_until_it_is(
    world: World, temporal: FakeTemporal, ahead: timedelta
) -> None:
    workflow_id, start = await world.engaged("a-1"), now() + ahead
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(_flow("BLOCKED", start))
        await temporal.until(lambda: len(temporal.heard[FLOW_GATE]) == 1)
        (hold,) = await world.stores.holds.active(now())
        assert (hold.scope_key, hold.code, hold.until, hold.at) == (FLOW, "flow-blocked", None, start)
        with pytest.raises(PolicyRefused) as raised:
            await world.claimed(workflow_id)
        assert (raised.value.code, raised.value.scope) == ("held", Scope.FLOW)
        await gateway.post(_flow("PUBLISHED", start + MINUTE))
        await temporal.until(lambda: len(temporal.heard[FLOW_GATE]) == 2)
    assert await world.stores.holds.active(now()) == ()
    assert (await world.claimed(workflow_id)).attempt == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [(("BLOCKED", "PUBLISHED", "DRAFT"), "flow-draft"), (("PUBLISHED", "THROTTLED", "PUBLISHED"), "")],
)
async def test_what_a_flow_is_is_judged_by_the_providers_clock_not_by_arrival(
    world: World, temporal: FakeTemporal, words: tuple[str, ...], code: str
) -> None:
    start, orders = now() - 10 * MINUTE, list(itertools.permutations(range(3)))
    async with running(parts_of(world.stores, temporal)) as gateway:
        for flow_id, order in enumerate(orders):
            await gateway.post(*(_flow(words[n], start + n * MINUTE, f"flow-{flow_id}") for n in order))
        await world.until_states({EventState.RELAYED: 3 * len(orders)})
    active = await world.stores.holds.active(now())
    assert [hold.code for hold in active] == ([code] * len(orders) if code else [])


async def test_a_flow_published_again_ends_what_the_provider_refused_but_not_what_a_person_holds(
    world: World, temporal: FakeTemporal
) -> None:
    start = now() - 10 * MINUTE
    await world.stores.holds.hold(HoldRow(scope_key=FLOW, code="132068", reason="Flow is blocked", at=start))
    kims = HoldRow(scope_key=flow_scope("main", "flow-2"), reason="wrong questions", actor="kim", at=start)
    await world.stores.holds.hold(kims)
    async with running(parts_of(world.stores, temporal)) as gateway:
        again = FlowChanged(flow_id="flow-2", old="DRAFT", new="PUBLISHED")
        await gateway.post(_flow("PUBLISHED", start + MINUTE), event("flow-2", again))
        await world.until_states({EventState.RELAYED: 2})
    assert await world.stores.holds.active(now()) == (kims,)


META_SECRET = "meta-app-secret"
META = MetaWebhookReader(
    "main", (SecretStr(META_SECRET),), MetaSettings(waba_id="1", verify_token="env:T"), now, SecretStr("verify")
)


async def _from_meta(gateway: Running, field: str, value: dict[str, object]) -> None:
    entry = {"id": "1", "time": int(now().timestamp()), "changes": [{"field": field, "value": value}]}
    body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    signature = "sha256=" + hmac.new(META_SECRET.encode(), body, hashlib.sha256).hexdigest()
    url = f"{gateway.webhooks}/webhooks/meta/main"
    answer = await gateway.client.post(url, content=body, headers={"X-Hub-Signature-256": signature})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("message_template_status_update", {"event": "PAUSED"}, "PAUSED"),
        (
            "template_category_update",
            {"previous_category": "UTILITY", "new_category": "MARKETING"},
            "CATEGORY_MARKETING",
        ),
        ("message_template_quality_update", {"new_quality_score": "RED"}, "QUALITY_RED"),
    ],
)
async def test_status_category_and_quality_of_metas_templates_all_reach_the_gate(
    world: World, temporal: FakeTemporal, field: str, value: dict[str, object], word: str
) -> None:
    await world.stores.templates.write("main", DUTCH, _approved("1689550000000001"), now())
    named = value | {
        "message_template_id": 1689550000000001,
        "message_template_name": "hello",
        "message_template_language": "nl",
    }
    async with running(parts_of(world.stores, temporal, Receiving("meta", "main", ("nl-1",), META))) as gateway:
        await _from_meta(gateway, field, named)
        await temporal.until(lambda: len(temporal.heard[GATES["nl"]]) == 1)
    (heard,) = temporal.heard[GATES["nl"]]
    assert isinstance(heard.body, TemplateChanged)
    assert heard.body.event == word
    assert await world.stores.templates.read("main", DUTCH) is None


@workflow.defn
class Listening:
    """Ends with the keys of the events that it was told as a gate."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: bool(self._keys))
        return self._keys

    @workflow.signal(name="template-status")
    def hear(self, events: ProviderEvents) -> None:
        self._keys += [one.key for one in events.events]


async def test_a_real_temporal_takes_what_a_gate_hears_and_says_where_none_is(known: World) -> None:
    async with await DevServer.start() as server:
        client = await Client.connect(server.address, data_converter=pydantic_data_converter)
        parts = GatewayParts(
            stores=known.stores,
            accounts=parts_of(known.stores, FakeTemporal()).accounts,
            rest=parts_of(known.stores, FakeTemporal()).rest,
            signaller=TemporalSignaller(client),
        )
        async with (
            Worker(client, task_queue="gates", workflows=[Listening], workflow_runner=UnsandboxedWorkflowRunner()),
            running(parts) as gateway,
        ):
            gate = await client.start_workflow(Listening.run, id=GATES["nl"], task_queue="gates")
            await gateway.post(_told(name="hello"))
            assert await gate.result() == ["template:PAUSED"]
            await known.until_states({EventState.RELAYED: 1, EventState.NO_EFFECT: 1})
    (nobody,) = await known.review.list(EventState.NO_EFFECT)
    assert nobody.rule == "no-gate"
