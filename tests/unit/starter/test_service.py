"""The service on a real store and a real Temporal server."""

import asyncio
from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowContinuedAsNewError
from temporalio.service import RPCError

from domain import ids, names
from domain.calls import CloseRequest, Command, ResolveSend
from domain.contacts import Candidate, Consent
from domain.errors import BadInput, Conflict, EngineUnavailable, NotAllowed, NotFound
from domain.outcomes import Decision, EngagementOutcome, EngagementResult, Settlement
from domain.plans import FlowRef, Opening
from domain.snapshot import EngagementSnapshot
from starter.views import TraceSource
from store.registry import EngagementRow
from tests.unit.starter.world import CANDIDATE, KEYS, NOW, NOWHERE, PHONE, PLAN, World, open_world, request, worker
from workflows import search_attributes as found_by

pytestmark = pytest.mark.server


def fields(error: BadInput) -> list[str]:
    return [mistake.field for mistake in error.mistakes]


async def test_an_engagement_is_registered_and_runs(world: World, ref: str) -> None:
    started = await world.service.start(request(ref), NOW)

    row = await world.stores.registry.get("acme", ref)
    assert started.created
    assert started.workflow_id == ids.engagement_workflow_id("acme", ref)
    assert row is not None
    assert row.started_at is not None
    described = await world.client.get_workflow_handle(started.workflow_id).describe()
    attributes = described.typed_search_attributes
    assert attributes[found_by.STAGE] == "admitting"
    assert attributes[found_by.TENANT] == "acme"
    assert attributes[found_by.LINE] == "recruiting"
    assert attributes[found_by.PROVIDER] == "recrubo"
    assert attributes[found_by.PLAN] == "warehouse-intake"
    assert attributes[found_by.NEEDS_HUMAN] is False
    assert described.task_queue == ids.ENGAGEMENTS_QUEUE


async def test_what_temporal_shows_in_the_clear_names_nobody(world: World, ref: str) -> None:
    started = await world.service.start(request(ref), NOW)

    handle = world.client.get_workflow_handle(started.workflow_id)
    raw = (await handle.fetch_history()).to_json()
    described = await handle.describe()

    for secret in (PHONE, PHONE.removeprefix("+"), "Zebulon"):
        assert secret not in raw
    summary, details = await described.static_summary(), await described.static_details()
    assert summary is not None
    assert details is not None
    assert "warehouse-intake on recruiting" in summary
    assert ref in details
    assert "warehouse-intake, begun by version 1" in details
    assert "Zebulon" not in summary + details
    assert PHONE.removeprefix("+") not in summary + details


async def test_logs_name_nobody(world: World, ref: str, logs: list[MutableMapping[str, Any]]) -> None:
    await world.service.start(request(ref), NOW)

    assert [line["event"] for line in logs] == ["engagement_started"]
    assert PHONE.removeprefix("+") not in str(logs)
    assert "Zebulon" not in str(logs)


async def test_starting_twice_starts_once_and_says_so(world: World, ref: str) -> None:
    first = await world.service.start(request(ref), NOW)
    second = await world.service.start(request(ref), NOW + timedelta(hours=1))

    assert (first.created, second.created) == (True, False)
    assert first.workflow_id == second.workflow_id


async def test_starts_at_the_same_moment_make_one_engagement(world: World, ref: str) -> None:
    several = await asyncio.gather(*(world.service.start(request(ref), NOW) for _ in range(8)))

    assert sum(started.created for started in several) == 1
    runs = world.client.get_workflow_handle(several[0].workflow_id)
    assert (await runs.describe()).raw_description.workflow_execution_info.first_run_id


async def test_other_input_under_the_same_reference_is_a_conflict_that_names_the_fields(world: World, ref: str) -> None:
    await world.service.start(request(ref), NOW)
    other = CANDIDATE.model_copy(update={"phone": "+31687654321", "zone": ""})

    with pytest.raises(Conflict) as refused:
        await world.service.start(request(ref, candidate=other, job="another"), NOW)

    assert set(refused.value.fields) == {"candidate.phone", "candidate.zone", "job"}
    assert "31687654321" not in str(refused.value)


async def test_a_crash_between_row_and_start_is_healed_by_starting_again(url: str, temporal: str, ref: str) -> None:
    async with open_world(url, NOWHERE) as dark:
        with pytest.raises(EngineUnavailable):
            await dark.service.start(request(ref), NOW)
        row = await dark.stores.registry.get("acme", ref)
        assert row is not None
        assert row.started_at is None

    async with open_world(url, temporal) as world:
        with pytest.raises(RPCError):
            await world.started(ref)
        again = await world.service.start(request(ref), NOW)
        assert not again.created
        assert await world.started(ref)


async def test_start_missing_starts_what_never_reached_temporal(url: str, temporal: str, ref: str) -> None:
    async with open_world(url, NOWHERE) as dark:
        with pytest.raises(EngineUnavailable):
            await dark.service.start(request(ref), NOW)
        assert await dark.service.start_missing(NOW + timedelta(minutes=5)) == ()

    async with open_world(url, temporal) as world:
        assert await world.service.start_missing(NOW + timedelta(seconds=1)) == ()  # its own start may be in hand
        healed = await world.service.start_missing(NOW + timedelta(minutes=5))
        assert healed == (ids.engagement_workflow_id("acme", ref),)
        assert await world.started(ref)
        assert await world.service.start_missing(NOW + timedelta(minutes=10)) == ()


async def test_every_mistake_of_a_request_is_told_at_once_and_nothing_starts(world: World) -> None:
    candidate = Candidate(phone="+1555010", zone="Mars/Olympus", variables={"frist_name": "Zebulon"})
    plan = PLAN.model_copy(
        update={
            "opening": Opening(template=PLAN.opening.template.model_copy(update={"id": ""}), flow=FlowRef()),
        }
    )
    wrong = request("ref-1", candidate=candidate, plan=plan, line="recriuting")

    with pytest.raises(BadInput) as refused:
        await world.service.start(wrong, NOW)

    assert set(fields(refused.value)) == {
        "line",
        "candidate.phone",
        "candidate.consent",
        "candidate.zone",
        "candidate.variables.first_name",
        "plan.opening.flow.id",
    }
    assert 'did you mean "recruiting"?' in str(refused.value)
    assert 'did you mean "frist_name"?' in str(refused.value)
    assert "Zebulon" not in str(refused.value)
    assert await world.stores.registry.get("acme", "ref-1") is None


async def test_a_provider_that_knows_templates_by_id_needs_the_id(world: World) -> None:
    opening = PLAN.opening.model_copy(update={"template": PLAN.opening.template.model_copy(update={"id": ""})})

    found = world.service.mistakes(request(plan=PLAN.model_copy(update={"opening": opening})), NOW)

    assert [mistake.field for mistake in found] == ["plan.opening.template.id"]


@pytest.mark.parametrize("reference", ["31612345678", "0612345678", "06-12.34_56-78", "app-31612345678", "612345678"])
async def test_a_reference_is_never_the_candidates_number(world: World, reference: str) -> None:
    assert [mistake.field for mistake in world.service.mistakes(request(reference), NOW)] == ["reference"]


async def test_a_line_of_another_tenant_is_no_line(world: World) -> None:
    assert [mistake.field for mistake in world.service.mistakes(request(line="globex-line"), NOW)] == ["line"]


async def test_consent_from_the_future_is_no_consent(world: World) -> None:
    early = Consent(source="careers page", obtained_at=NOW + timedelta(hours=1))
    found = world.service.mistakes(request(candidate=CANDIDATE.model_copy(update={"consent": early})), NOW)

    assert [mistake.field for mistake in found] == ["candidate.consent.obtained_at"]


async def test_an_open_engagement_tells_where_it_stands(world: World, temporal: str, ref: str) -> None:
    async with worker(temporal):
        await world.service.start(request(ref), NOW)
        view = await world.service.get("acme", ref)

    assert view.snapshot is not None
    assert view.snapshot.waiting_for == "the candidate's answer"
    assert (view.summary.stage, view.summary.needs_human, view.note) == ("awaiting-answer", True, "")


async def test_without_a_worker_the_registry_still_answers(world: World, ref: str) -> None:
    await world.service.start(request(ref), NOW)

    view = await world.service.get("acme", ref)

    assert view.snapshot is None
    assert "only the registry is shown" in view.note
    assert view.summary.plan == "warehouse-intake"


async def test_a_foreign_reference_is_not_found(world: World, ref: str) -> None:
    await world.service.start(request(ref), NOW)
    command = Command(command_id="c-1", actor="ops", reason="test")

    for ask in (
        world.service.get("globex", ref),
        world.service.trace("globex", ref),
        world.service.stop("globex", ref, command),
    ):
        with pytest.raises(NotFound):
            await ask


async def test_a_command_is_carried_out_once_and_its_repeat_hears_the_same(
    world: World, temporal: str, ref: str
) -> None:
    command = Command(command_id="stop-1", actor="ops", reason="the job is gone")
    async with worker(temporal):
        started = await world.service.start(request(ref), NOW)
        first = await world.service.stop("acme", ref, command)
        await world.client.get_workflow_handle(started.workflow_id).result()
        again = await world.service.stop("acme", ref, command)

    assert first.accepted
    assert again == first


async def test_a_command_for_an_engagement_that_ended_is_not_allowed(world: World, temporal: str, ref: str) -> None:
    async with worker(temporal):
        started = await world.service.start(request(ref), NOW)
        await world.service.stop("acme", ref, Command(command_id="a", actor="ops", reason="the job is gone"))
        await world.client.get_workflow_handle(started.workflow_id).result()
        await close(world, ref)
        with pytest.raises(NotAllowed, match="has ended as STOPPED"):
            await world.service.stop("acme", ref, Command(command_id="b", actor="ops", reason="once more"))


async def test_what_the_engagement_refuses_is_not_allowed_with_its_reason(
    world: World, temporal: str, ref: str
) -> None:
    async with worker(temporal):
        await world.service.start(request(ref), NOW)
        with pytest.raises(NotAllowed, match="no send's outcome is unknown"):
            await world.service.resend("acme", ref, Command(command_id="r", actor="ops", reason="try"))


async def test_a_send_of_another_engagement_cannot_be_resolved(world: World, ref: str) -> None:
    await world.service.start(request(ref), NOW)
    foreign = ResolveSend(
        command_id="x", actor="ops", reason="seen", send_key="engagement:acme:other/opening/1", was_sent=True
    )

    with pytest.raises(BadInput) as refused:
        await world.service.resolve_send("acme", ref, foreign)

    assert fields(refused.value) == ["send_key"]


async def test_the_list_is_paged_newest_first_and_shows_live_stages(world: World, ref: str) -> None:
    for n in range(3):
        await world.service.start(request(f"{ref}.{n}"), NOW + timedelta(minutes=n))

    first = await world.service.list("acme", limit=2)
    second = await world.service.list("acme", limit=2, cursor=first.next_cursor)

    assert [one.reference for one in first.engagements] == [f"{ref}.2", f"{ref}.1"]
    assert [one.reference for one in second.engagements] == [f"{ref}.0"]
    assert second.next_cursor == ""
    assert (await world.service.list("globex")).engagements == ()


async def test_the_list_says_when_temporal_cannot_tell_stages(url: str, temporal: str, ref: str) -> None:
    async with open_world(url, temporal) as world:
        await world.service.start(request(ref), NOW)
    async with open_world(url, NOWHERE) as dark:
        page = await dark.service.list("acme")

    assert [one.reference for one in page.engagements] == [ref]
    assert "stages are missing" in page.note


async def test_a_trace_merges_decisions_with_history_in_order(world: World, temporal: str, ref: str) -> None:
    async with worker(temporal):
        await world.service.start(request(ref), NOW)
        command = ResolveSend(
            command_id="see-1",
            actor="ops",
            reason="seen on the phone",
            send_key=f"{ids.engagement_workflow_id('acme', ref)}/opening/1",
            was_sent=True,
        )
        await world.service.resolve_send("acme", ref, command)
        told = await world.service.trace("acme", ref)

    assert {entry.source for entry in told.entries} == {TraceSource.DECISION, TraceSource.HISTORY}
    assert [entry.at for entry in told.entries] == sorted(entry.at for entry in told.entries)
    assert ("command accepted", "resolve-send (see-1)") in [(entry.what, entry.text) for entry in told.entries]
    assert "admitted" in [entry.what for entry in told.entries]
    assert PHONE.removeprefix("+") not in told.model_dump_json()


async def test_a_trace_spans_runs_that_continued_as_new(world: World, temporal: str, ref: str) -> None:
    async with worker(temporal):
        started = await world.service.start(request(ref), NOW)
        handle = world.client.get_workflow_handle(started.workflow_id)
        first = (await handle.describe()).run_id
        await handle.signal(names.CONTACT_CHANGED)
        with pytest.raises(WorkflowContinuedAsNewError):  # the first run ends so, and not before
            await world.client.get_workflow_handle(started.workflow_id, run_id=first).result(follow_runs=False)
        await world.service.stop("acme", ref, Command(command_id="s", actor="ops", reason="over"))
        await handle.result()
        told = await world.service.trace("acme", ref)

    history = [entry.what for entry in told.entries if entry.source is TraceSource.HISTORY]
    assert history[:3] == ["started", "signal", "continued"]
    assert history[-1] == "closed"


async def test_a_trace_outlives_history(world: World, ref: str) -> None:
    row = EngagementRow(
        tenant="acme",
        reference=ref,
        workflow_id=ids.engagement_workflow_id("acme", ref),
        contact_id="contact-1",
        line="recruiting",
        account="acme-recrubo",
        provider="recrubo",
        plan="warehouse-intake",
        fingerprints={"plan": KEYS.fingerprint("plan")},
        created_at=NOW,
    )
    await world.stores.registry.register(row)  # Temporal never had it, as after its retention
    await close(world, ref)

    told = await world.service.trace("acme", ref)
    view = await world.service.get("acme", ref)

    assert [entry.what for entry in told.entries] == ["stopped"]
    assert "history is missing" in told.note
    assert view.summary.outcome is EngagementOutcome.STOPPED
    assert view.snapshot is not None
    assert view.snapshot.stage == "closed"


async def close(world: World, reference: str) -> None:
    """What the engagement's last activity does."""
    settlement = Settlement(outcome=EngagementOutcome.STOPPED, rule="stop", reason="the job is gone", at=NOW)
    decisions = (Decision(at=NOW, rule="stopped", text="the job is gone", actor="ops"),)
    workflow_id = ids.engagement_workflow_id("acme", reference)
    snapshot = EngagementSnapshot(
        workflow_id=workflow_id,
        tenant="acme",
        reference=reference,
        plan="warehouse-intake",
        line="recruiting",
        stage="closed",
        decisions=decisions,
        settlement=settlement,
    )
    await world.stores.registry.close(
        CloseRequest(
            workflow_id=workflow_id,
            contact_id="contact-1",
            result=EngagementResult(tenant="acme", reference=reference, settlement=settlement, sends=0),
            decisions=decisions,
            snapshot=snapshot.model_dump_json(),
            at=NOW,
        )
    )
