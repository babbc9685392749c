"""``rapport export``: all that is kept, from history, archive and ledger, and nothing of somebody who was erased."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.worker import Worker
from typer.testing import CliRunner

from domain import ids, names
from domain.calls import CloseRequest, Command
from domain.contacts import Alias, AliasKind, Consent
from domain.events import ProviderEvent, ProviderEvents, TextReceived
from domain.export import SCHEMA, EngagementExport, InboundFrom
from domain.outcomes import Decision, EngagementOutcome, EngagementResult, Settlement
from domain.retention import KeptKind
from domain.sends import LedgerState
from domain.topology import AccessToken, Role
from runtime.processes import temporal_plugin
from runtime.temporal import connect
from starter.cli import app
from starter.cli.session import Session
from starter.cli.stories import as_markdown
from starter.engine import Engine
from starter.export_schema import export_schema
from starter.exporting import WITH_THE_HISTORY, ExportService
from starter.looking_back import LookingBack
from starter.routes import create_rest_app
from starter.tokens import AccessTokens
from store.inbox import Placement
from store.inbox_desk import InboxDesk
from store.inbox_tables import EventState
from store.retention import Retention
from store.stores import Stores
from tests.unit.gateway.world import World as Registered
from tests.unit.gateway.world import wrote
from tests.unit.starter.recorded import THREAD, Told, told
from tests.unit.starter.standing import StandingEngagement
from tests.unit.starter.test_erasing import Lines, actions
from tests.unit.starter.world import KEYS, NOW, NOWHERE, TOPOLOGY, request, sealing_plugin, service_on
from tests.unit.store_inbox.bench import Bench

SCHEMA_FILE = Path(__file__).parents[3] / "docs" / "export.schema.json"
READER, OTHER, ERASER = "reader-token-0123456789ab", "foreign-token-0123456789a", "eraser-token-0123456789ab"
ACCESS = AccessTokens(
    [
        (AccessToken(name="auditor", tenant="acme", token="env:A", roles=frozenset({Role.READ})), SecretStr(READER)),
        (AccessToken(name="other", tenant="globex", token="env:B", roles=frozenset({Role.READ})), SecretStr(OTHER)),
        (AccessToken(name="dpo", tenant="acme", token="env:C", roles=frozenset({Role.ERASE})), SecretStr(ERASER)),
    ]
)


async def test_an_export_says_everything_from_the_opt_in_to_the_answers(url: str) -> None:
    async with told(url, "completed") as one:
        whole = await one.export()
    assert (whole.schema_name, whole.missing, whole.erased_at) == (SCHEMA, (), None)
    assert json.loads(whole.model_dump_json())["schema"] == "rapport.export/1"
    assert [consent.source for consent in whole.consents] == ["form"]
    assert whole.contact_id == one.contact_id
    assert whole.outcome is not None
    assert (whole.outcome.outcome, bool(whole.outcome.answers)) == (EngagementOutcome.COMPLETED, True)
    assert whole.plan.version == whole.plan.begun_with == 1
    assert whole.plan.text is not None
    assert whole.plan.text["name"] == whole.plan.name == "warehouse-intake-nl"
    (message,) = whole.messages
    assert (message.step, message.state, message.language) == ("opening", LedgerState.SENT, "nl")
    assert message.run_id
    assert message.claimed_at is not None
    assert message.settled_at is not None
    assert [status.status.value for status in message.told][:2] == ["delivered", "read"]
    assert [status.at for status in message.told] == sorted(status.at for status in message.told)
    assert {said.source for said in whole.inbound if said.answers} <= {InboundFrom.HISTORY, InboundFrom.LOOKUP}
    assert any(said.answers == whole.outcome.answers for said in whole.inbound)
    assert whole.decisions[0].rule == "admitted"
    assert whole.decisions[-1].text.startswith("COMPLETED: ")


@pytest.mark.parametrize(
    ("journey", "given"),
    [
        ("paused-by-an-operator", {"pause", "resume"}),
        ("settled-by-a-person", {"resolve-send"}),
        ("moved-to-a-new-plan", {"migrate-plan"}),
        ("withdrawn-by-the-ats", {"ats-status"}),
    ],
)
async def test_operators_are_named_with_their_reasons_with_history_and_without(
    url: str, journey: str, given: set[str]
) -> None:
    async with told(url, journey) as one:
        whole = await one.export()
        one.engine.lost = True
        later = await one.export()
    assert {action.what for action in whole.operator_actions} >= given
    assert all(action.actor and action.reason for action in whole.operator_actions)
    by_hand = [action for action in whole.operator_actions if action.what in given]
    for action in by_hand:
        assert action.command_id
        assert any(action.actor == kept.actor and action.reason in kept.reason for kept in later.operator_actions)
    assert len(later.operator_actions) <= len(whole.operator_actions), "nothing is told twice"


async def test_a_plan_that_changed_under_way_is_told_with_both_versions(url: str) -> None:
    async with told(url, "moved-to-a-new-plan") as one:
        plan = (await one.export()).plan
        one.engine.lost = True
        later = (await one.export()).plan
    assert plan.text is not None
    assert (plan.begun_with, plan.version, plan.text["version"]) == (1, 2, 2)
    assert (later.begun_with, later.version, later.text) == (1, 2, None), "the text went with the history"


async def test_what_the_candidate_wrote_is_told_while_the_history_lasts_and_then_said_to_be_missing(url: str) -> None:
    async with told(url, "skipped-by-condition") as one:
        whole = await one.export()
        one.engine.lost = True
        later = await one.export()
    assert [said.text for said in whole.inbound if said.kind == "text"] == ["Is het avondwerk?"]
    assert later.inbound == ()
    assert (later.decisions, later.outcome) == (whole.decisions, whole.outcome)
    assert [message.key for message in later.messages] == [message.key for message in whole.messages]
    assert later.plan == whole.plan
    assert "history is missing" in later.missing[0]
    assert later.missing[1:] == (WITH_THE_HISTORY,)


async def test_an_opt_out_is_told_with_its_word(url: str) -> None:
    async with told(url, "opted-out") as one:
        said = [said for said in (await one.export()).inbound if said.kind == "opt-out"]
    assert [(one.text, one.source) for one in said] == [("STOP", InboundFrom.HISTORY)]


async def test_what_came_too_late_for_the_engagement_is_told_from_the_inbox(url: str) -> None:
    async with told(url, "completed") as one:
        bench = Bench(Registered(one.stores))
        late = Placement(EventState.LATE, "over", workflow_id=one.workflow_id, contact_id=one.contact_id)
        await bench.placed(late, wrote("e-late", "I came late", Alias(kind=AliasKind.PHONE, value="31612345678")))
        said = (await one.export()).inbound[-1]
    assert (said.text, said.source) == ("I came late", InboundFrom.INBOX)


async def test_what_history_and_inbox_both_have_is_told_once(url: str) -> None:
    async with told(url, "skipped-by-condition") as one:
        its = Placement(EventState.PENDING, "thread", workflow_id=one.workflow_id, contact_id=one.contact_id)
        alias = Alias(kind=AliasKind.PHONE, value="31612345678")
        await Bench(Registered(one.stores)).placed(its, wrote("event-1", "Is het avondwerk?", alias))
        assert [said.source for said in (await one.export()).inbound] == [InboundFrom.HISTORY]


async def test_evidence_that_another_tenant_has_is_not_told(url: str) -> None:
    async with told(url, "completed") as one:
        for tenant, source in (("globex", "their careers page"), ("acme", "by telephone")):
            await one.stores.contacts.record_consent(one.contact_id, tenant, Consent(source=source, obtained_at=NOW))
        assert [consent.source for consent in (await one.export()).consents] == ["form", "by telephone"]


async def test_an_open_engagement_that_nobody_works_on_is_told_as_far_as_it_can_be(url: str) -> None:
    async with told(url, "still-open") as one:
        partly = await one.export()
    assert (partly.closed_at, partly.outcome, partly.decisions) == (None, None, ())
    assert {message.state for message in partly.messages} == {LedgerState.SENT}
    assert partly.messages[0].template
    assert len(partly.missing) == 2
    assert "is a worker running?" in partly.missing[0]


async def test_payloads_that_do_not_open_are_counted_and_the_rest_is_told(url: str) -> None:
    async with told(url, "completed") as one:
        one.engine.keyless = True
        partly = await one.export()
    assert partly.outcome is not None
    assert partly.outcome.answers
    assert partly.inbound == ()
    (why,) = partly.missing
    assert "could not be opened" in why


@pytest.mark.parametrize("journey", ["skipped-by-condition", "paused-by-an-operator", "opted-out"])
async def test_after_an_erasure_structure_instants_and_audit_texts_are_left_and_nothing_of_the_person(
    url: str, journey: str
) -> None:
    async with told(url, journey) as one:
        whole = await one.export()
        await one.stores.erasures.mark(one.contact_id, "olga", "asked", NOW)
        await one.stores.erasures.erase(one.contact_id, NOW)
        one.engine.erased = True
        bare = await one.export()
        story = (await service_on(one.stores, await _nowhere()).trace("acme", one.reference)).story
    assert bare.erased_at == NOW
    assert (bare.decisions, bare.closed_at, bare.registered_at) == (
        whole.decisions, whole.closed_at, whole.registered_at,
    )  # fmt: skip
    assert [(m.key, m.template, m.state, m.claimed_at) for m in bare.messages] == [
        (m.key, m.template, m.state, m.claimed_at) for m in whole.messages
    ]
    assert bare.outcome is not None
    assert whole.outcome is not None
    assert bare.outcome == whole.outcome.model_copy(update={"answers": {}, "text": ""})
    assert (bare.consents, bare.inbound, bare.plan.text) == ((), (), None)
    assert {(a.actor, a.at.date()) for a in bare.operator_actions} == {
        (a.actor, a.at.date()) for a in whole.operator_actions
    }
    text = bare.model_dump_json() + (story.model_dump_json() if story is not None else "")
    persons = [THREAD, "Is het avondwerk?", "STOP", *(m.message_id or m.run_id for m in whole.messages)]
    assert [one for one in persons if f'"{one}"' in text] == []
    assert [f'"{THREAD}"' in whole.model_dump_json(), bool(story and story.lines)] == [True, True]


async def _nowhere() -> Client:
    return await connect(sealing_plugin(), address=NOWHERE, lazy=True)


async def test_after_retention_the_story_is_still_told_and_then_only_how_it_ended(url: str) -> None:
    async with told(url, "skipped-by-condition") as one:
        service, row = service_on(one.stores, await _nowhere()), await one.stores.registry.get("acme", one.reference)
        assert row is not None
        assert row.closed_at is not None
        before = await service.trace("acme", one.reference)
        at = [row.closed_at + timedelta(days=400)]
        retention = Retention(one.stores.database, one.stores.keys, clock=lambda: at[0])
        await retention.drop([kind for kind in KeptKind if kind is not KeptKind.PEOPLE])
        later = await service.trace("acme", one.reference)
        at[0] += timedelta(days=1000)
        await retention.drop([KeptKind.DECISIONS])
        last = await service.trace("acme", one.reference)
        export = await one.export()
    assert before.story is not None
    assert later.story is not None
    assert last.story is not None
    assert [line.rule for line in later.story.lines] == [line.rule for line in before.story.lines]
    assert "past their retention" in later.note
    assert as_markdown(later.story).startswith(f"# {one.reference}: Handed over to a person (HANDED_OVER)")
    assert last.story.headline == before.story.headline
    assert last.story.lines == ()
    assert (export.decisions, export.outcome is not None, export.plan.text) == ((), True, None)
    assert "the archive of this engagement is past its retention" in export.missing


async def test_by_rest_the_role_is_needed_foreign_engagements_are_not_there_and_it_is_on_record(
    url: str, logs: Lines
) -> None:
    async with told(url, "completed") as one:
        service = service_on(one.stores, await _nowhere())
        rest = create_rest_app(service, ACCESS, one.stores.idempotency, exporting=one.service)
        transport = httpx.ASGITransport(rest)

        async def ask(token: str, reference: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://r", headers=headers) as client:
                return await client.get(f"/v1/engagements/{reference}/export")

        answer = await ask(READER, one.reference)
        assert [(await ask(token, one.reference)).status_code for token in (OTHER, ERASER, "nobody")] == [404, 403, 401]
        assert (await ask(READER, "nobody")).status_code == 404
    assert (answer.status_code, answer.json()["schema"]) == (200, SCHEMA)
    assert EngagementExport.model_validate(answer.json()).outcome is not None
    assert [line for line in actions(logs) if line[4] == one.reference] == [
        ("auditor", "read", "acme", "export", one.reference, "done"),
        ("other", "read", "globex", "export", one.reference, "refused 404"),
        ("dpo", "read", "acme", "export", one.reference, "refused 403"),
    ]


def test_the_command_prints_the_document_and_names_on_the_side_what_is_missing(url: str, logs: Lines) -> None:
    @asynccontextmanager
    async def session() -> AsyncIterator[Session]:
        async with Stores.open(url, KEYS) as stores:
            client = await _nowhere()
            looking = LookingBack(stores.registry, stores.ledger, Engine(client))
            service = ExportService(looking, stores.contacts, InboxDesk(stores.database, stores.keys))
            yield Session(service_on(stores, client), TOPOLOGY, exporting=service)

    async def fill() -> Told:
        async with told(url, "completed") as one:
            return one

    one = asyncio.run(fill())
    result = CliRunner().invoke(app, ["export", one.reference, "--tenant", "acme"], obj=session)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["schema"], document["outcome"]["outcome"]) == (SCHEMA, "COMPLETED")
    assert "missing: Temporal's history is missing" in result.stderr
    assert CliRunner().invoke(app, ["export", "nobody", "--tenant", "acme"], obj=session).exit_code == 3
    assert CliRunner().invoke(app, ["export"], obj=session).exit_code == 2
    assert [line[3:] for line in actions(logs)][:2] == [
        ("export", one.reference, "done"),
        ("export", "nobody", "NotFound"),
    ]


def test_the_published_schema_is_that_of_this_release() -> None:
    printed = CliRunner().invoke(app, ["export", "--schema"]).stdout
    kept = SCHEMA_FILE.read_text(encoding="utf-8")
    assert kept == printed == export_schema(), "rapport export --schema > docs/export.schema.json"
    assert json.loads(kept)["properties"]["schema"]["const"] == SCHEMA


@pytest.mark.server
async def test_an_ended_engagement_is_exported_without_a_worker_and_without_the_person_after_an_erasure(
    url: str, temporal: str, ref: str
) -> None:
    async with Stores.open(url, KEYS) as stores:
        client = await connect(temporal_plugin(stores.data_keys, KEYS), address=temporal)
        service = service_on(stores, client)
        looking = LookingBack(stores.registry, stores.ledger, Engine(client))
        exports = ExportService(looking, stores.contacts, InboxDesk(stores.database, stores.keys))
        async with Worker(client, task_queue=ids.ENGAGEMENTS_QUEUE, workflows=[StandingEngagement]):
            started = await service.start(request(ref), NOW)
            handle = client.get_workflow_handle(started.workflow_id)
            event = ProviderEvent(key="e-1", occurred_at=NOW, body=TextReceived(text="I am Zebulon"))
            await handle.signal(names.PROVIDER_EVENTS, ProviderEvents(events=(event,)))
            assert (await exports.export("acme", ref)).closed_at is None
            await service.stop("acme", ref, Command(command_id="s", actor="olga", reason="the job is taken"))
            await handle.result()
        row = await stores.registry.get("acme", ref)
        assert row is not None
        await stores.registry.close(_stopped(row.workflow_id, row.contact_id, ref))
        whole = await exports.export("acme", ref)
        await stores.erasures.mark(row.contact_id, "olga", "asked", NOW)
        await stores.erasures.erase(row.contact_id, NOW)
        bare = await exports.export("acme", ref)
        trace = await service.trace("acme", ref)
    assert [said.text for said in whole.inbound] == ["I am Zebulon"]
    (action,) = whole.operator_actions
    assert (action.what, action.actor, action.reason, action.command_id) == ("stop", "olga", "the job is taken", "s")
    assert (bare.erased_at, bare.inbound, [a.actor for a in bare.operator_actions]) == (NOW, (), ["olga"])
    assert "Zebulon" not in bare.model_dump_json()
    assert trace.story is not None
    assert trace.story.headline == "Stopped by an operator (STOPPED)"
    assert {entry.what for entry in trace.entries} >= {"started", "signal", "stop", "closed"}


def _stopped(workflow_id: str, contact_id: str, reference: str) -> CloseRequest:
    end = Settlement(outcome=EngagementOutcome.STOPPED, rule="stop", reason="the job is taken", at=NOW)
    return CloseRequest(
        workflow_id=workflow_id,
        contact_id=contact_id,
        result=EngagementResult(tenant="acme", reference=reference, settlement=end, sends=0),
        decisions=(Decision(at=NOW, rule="stop", text="STOPPED: the job is taken", actor="olga"),),
        snapshot="{}",
        at=NOW,
    )
