"""Gates: who waits for the same thing waits together, and goes on together."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import TimeSkipper

from domain import names
from domain.calls import Command, CommandResult, LearnedAliases
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope
from domain.events import ProviderEvent, ProviderEvents, TemplateChanged
from domain.gates import Gate, GateResult, GateSnapshot
from domain.ids import ENGAGEMENTS_QUEUE
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import FollowUp, Opening, TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from domain.templates import TemplateCategory, TemplateSpecification
from tests.workflow.scripted import ScriptedProvider
from tests.workflow.stage import FLOW, NUDGE, TEMPLATE, GateHandle, Play, Stage, open_stage, plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
PENDING = TemplateStatus.PENDING


async def command(gate: GateHandle, name: str, reason: str = "because") -> CommandResult:
    said = Command(command_id=f"{name}-1", actor="olga", reason=reason)
    result: CommandResult = await gate.execute_update(name, said, id=said.command_id, result_type=CommandResult)
    return result


async def told(gate: GateHandle, word: str, key: str) -> None:
    body = TemplateChanged(template_id=TEMPLATE.id, event=word)
    event = ProviderEvent(key=key, occurred_at=datetime.now(UTC), body=body)
    await gate.signal(names.TEMPLATE_STATUS, ProviderEvents(events=(event,)))


async def end_of(gate: GateHandle) -> GateResult:
    result: GateResult = await gate.result()
    return GateResult.model_validate(result)


async def held(stage: Stage, how_many: int, **more: Any) -> list[Play]:
    """Engagements that are at rest, each with a person of its own; the first is so before the others begin."""
    plays: list[Play] = []
    for _ in range(how_many):
        plays.append(await stage.play(phone=f"+3161234{len(stage.played):04d}", **more))
        if len(plays) == 1:
            await plays[0].rest()
    await stage.calendar.quiet([play.handle for play in plays])
    return plays


async def test_many_wait_at_one_gate_that_looks_for_all_of_them(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    plays = await held(stage, 5)
    assert {(await play.gate()).gate for play in plays} == {
        f"gate:template:{stage.line}:{TEMPLATE.name}:{TEMPLATE.language}"
    }
    assert (await plays[0].gate()).waiting == 5
    assert stage.provider.requests.count("read_template") == 1, "the others took what the first had read"
    await stage.calendar.pass_time(60 * MINUTE, [p.handle for p in plays])
    looked = (await plays[0].gate()).looks
    assert stage.provider.requests.count("read_template") == 1 + looked
    assert looked <= 12, "twice as long each time"
    assert stage.provider.effects == []


async def test_on_approval_everybody_goes_on_in_order_and_the_gate_ends(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    plays = await held(stage, 5)
    gate = await plays[0].gate_handle()
    stage.provider.shut.clear()
    await stage.calendar.pass_time(12 * MINUTE, [p.handle for p in plays])
    result = await end_of(gate)
    assert (result.verdict, result.joined, result.released, result.left) == ("open", 5, 5, 0)
    assert len({send.workflow_id for send in stage.provider.effects}) == len(stage.provider.effects) == 5
    assert [(await play.snapshot()).hold for play in plays] == [None] * 5


async def test_a_webhook_makes_the_gate_look_at_once(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    (play,) = await held(stage, 1)
    gate = await play.gate_handle()
    stage.provider.shut.clear()
    await told(gate, "APPROVED", "event-1")
    assert (await end_of(gate)).looks == 1
    await play.rest()
    assert len(stage.provider.effects) == 1


async def test_a_word_that_comes_twice_makes_the_gate_look_once(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    (play,) = await held(stage, 1)
    gate = await play.gate_handle()
    for _ in range(3):
        await told(gate, "FLAGGED", "the-same-event")
    await play.stage.calendar.quiet([gate])
    assert (await play.gate()).looks == 1


async def test_a_rejection_ends_everybody_who_waits_with_the_providers_reason(stage: Stage) -> None:
    stage.provider.templates = [
        PENDING,
        TemplateReading(template_status=TemplateStatus.REJECTED, reason="INVALID_FORMAT"),
    ]
    plays = await held(stage, 3)
    await stage.calendar.pass_time(2 * MINUTE, [p.handle for p in plays])
    for play in plays:
        settlement = (await play.result()).settlement
        assert settlement.outcome is Outcome.TEMPLATE_REJECTED
        assert "INVALID_FORMAT" in settlement.reason
    assert stage.provider.effects == []


async def test_who_is_stopped_leaves_and_an_empty_gate_ends(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    one, other = await held(stage, 2)
    gate = await one.gate_handle()
    await one.command(names.STOP)
    assert (await one.result()).settlement.outcome is Outcome.STOPPED
    assert (await other.gate()).waiting == 1
    await other.command(names.STOP)
    await other.result()
    assert (await end_of(gate)).left == 2


async def test_who_waits_past_the_steps_expiry_ends_expired_and_leaves(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    (play,) = await held(stage, 1, its=plan(step_expiry="2h"))
    gate = await play.gate_handle()
    await play.pass_time(timedelta(hours=3))
    settlement = (await play.result()).settlement
    assert (settlement.outcome, "template-not-approved" in settlement.reason) == (Outcome.EXPIRED, True)
    assert (await end_of(gate)).left == 1


async def test_a_person_may_open_the_gate_whatever_the_provider_says(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    (play,) = await held(stage, 1)
    gate = await play.gate_handle()
    assert (await command(gate, names.RELEASE, "the provider's list is wrong")).accepted
    result = await end_of(gate)
    await play.rest()
    assert len(stage.provider.effects) == 1
    assert [(d.rule, d.actor) for d in result.decisions][-1] == ("opens", "olga")
    assert any("the provider's list is wrong (olga)" in d.text for d in (await play.snapshot()).decisions)


async def test_a_person_may_end_everybody_who_waits(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    (play,) = await held(stage, 1)
    await command(await play.gate_handle(), names.REJECT, "the campaign is over")
    settlement = (await play.result()).settlement
    assert settlement.outcome is Outcome.TEMPLATE_REJECTED
    assert "the campaign is over" in settlement.reason


async def test_a_person_may_ask_for_a_look_now(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    (play,) = await held(stage, 1)
    gate = await play.gate_handle()
    await command(gate, names.RECHECK)
    await stage.calendar.quiet([gate])
    assert (await play.gate()).looks == 1


async def test_a_held_follow_up_still_listens_for_the_answer(stage: Stage) -> None:
    (play,) = await held(stage, 1, its=plan(follow_ups=(FollowUp(after=DAY, template=NUDGE),)))
    stage.provider.shut[NUDGE.name] = TemplateStatus.PAUSED
    await play.pass_time(DAY + MINUTE)
    gate = await play.gate()
    assert (gate.waiting, NUDGE.name in gate.gate) == (1, True)
    handle = await play.gate_handle()
    await play.finish_run(city="Utrecht")
    assert (await play.result()).settlement.outcome is Outcome.COMPLETED
    assert (await end_of(handle)).left == 1
    assert len(stage.provider.effects) == 1, "the follow-up never left"


async def test_one_refusal_of_the_account_holds_everybody_and_one_goes_first(stage: Stage) -> None:
    refused = ProviderRejected("the token is not valid", scope=Scope.ACCOUNT, code="401")
    stage.provider.send_endings = [refused, refused]
    plays = await held(stage, 4)
    assert stage.provider.requests.count("trigger_flow") == 1, "the others were held before they asked"
    gate = await plays[0].gate()
    assert (gate.gate, gate.waiting, gate.needs_human) == (f"gate:account:{stage.line}", 4, True)
    handle = await plays[0].gate_handle()
    await stage.calendar.pass_time(MINUTE + timedelta(seconds=20), [p.handle for p in plays])
    assert stage.provider.requests.count("trigger_flow") == 2, "one went first and was refused again"
    assert (await plays[0].gate()).waiting == 4
    await stage.calendar.pass_time(10 * MINUTE, [p.handle for p in plays])
    assert len(stage.provider.effects) == 4
    assert stage.provider.requests.count("trigger_flow") == 6
    assert (await end_of(handle)).verdict == "open"


async def test_a_long_throttle_of_the_line_is_waited_out_together(stage: Stage) -> None:
    stage.provider.send_endings = [
        ProviderUnavailable("limited", scope=Scope.LINE, code="limit", retry_after=timedelta(minutes=30))
    ]
    plays = await held(stage, 3)
    assert (await plays[0].gate()).gate == f"gate:line:{stage.line}"
    assert stage.provider.requests.count("trigger_flow") == 1
    await stage.calendar.pass_time(29 * MINUTE, [p.handle for p in plays])
    assert stage.provider.effects == []
    await stage.calendar.pass_time(2 * MINUTE, [p.handle for p in plays])
    assert len(stage.provider.effects) == 3
    assert stage.provider.requests.count("trigger_flow") == 4


async def test_a_lifted_hold_is_nothing_to_wait_for(stage: Stage) -> None:
    refused = ProviderRejected("the token is not valid", scope=Scope.ACCOUNT, code="401")
    stage.provider.send_endings = [refused]
    (play,) = await held(stage, 1)
    gate = await play.gate_handle()
    await command(gate, names.RELEASE, "the token was put right")
    await end_of(gate)
    await play.rest()
    assert len(stage.provider.effects) == 1
    (later,) = await held(stage, 1)
    assert (await later.snapshot()).hold is None


async def test_another_category_waits_for_a_person_who_agrees(stage: Stage) -> None:
    stage.provider.templates = [
        TemplateReading(template_status=TemplateStatus.APPROVED, category="UTILITY"),
        TemplateReading(template_status=TemplateStatus.APPROVED, category="MARKETING"),
    ]
    await held(stage, 1)
    assert len(stage.provider.effects) == 1
    await stage.stores.templates.mark_stale(stage.line, TEMPLATE.id)
    (play,) = await held(stage, 1)
    assert (await play.gate()).needs_human
    assert len(stage.provider.effects) == 1
    gate = await play.gate_handle()
    await command(gate, names.RELEASE, "marketing is fine here")
    await end_of(gate)
    await play.rest()
    assert len(stage.provider.effects) == 2


async def test_a_plan_may_go_on_under_another_category_and_says_so(stage: Stage) -> None:
    stage.provider.templates = [
        TemplateReading(template_status=TemplateStatus.APPROVED, category="UTILITY"),
        TemplateReading(template_status=TemplateStatus.APPROVED, category="MARKETING"),
    ]
    await held(stage, 1)
    await stage.stores.templates.mark_stale(stage.line, TEMPLATE.id)
    (play,) = await held(stage, 1, its=plan(category_change="go-on"))
    assert len(stage.provider.effects) == 2
    assert [d.rule for d in (await play.snapshot()).decisions].count("category-changed") == 1


async def test_a_template_that_was_shut_after_the_check_is_refused_at_the_claim(stage: Stage) -> None:
    opened = stage.stores.contacts.learn
    marked: list[str] = []

    async def learn(learned: LearnedAliases) -> None:
        """The thread is opened between the check and the send: there the news comes."""
        await opened(learned)
        stage.provider.shut[TEMPLATE.name] = TemplateStatus.PAUSED
        await stage.stores.templates.mark_stale(stage.line, TEMPLATE.id)
        marked.append(learned.contact_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage.stores.contacts, "learn", learn)
        (play,) = await held(stage, 1)
    assert marked
    assert (await play.gate()).waiting == 1
    assert stage.provider.requests.count("trigger_flow") == 0
    stage.provider.shut.clear()
    await play.pass_time(12 * MINUTE)
    assert len(stage.provider.effects) == 1


async def test_the_gate_shows_its_state_in_words(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    plays = await held(stage, 2)
    snapshot: GateSnapshot = await plays[0].gate()
    assert (snapshot.status, snapshot.reason, snapshot.looks) == ("waiting", "PENDING", 0)
    assert snapshot.until is not None
    assert snapshot.first_waiting == tuple(play.handle.id for play in plays)


@dataclass(frozen=True)
class Specified:
    """The folder of a worker that has this one template."""

    only: TemplateSpecification

    def find(self, account: str, template: TemplateRef) -> TemplateSpecification | None:
        return self.only if template.name == self.only.name else None


@pytest_asyncio.fixture(loop_scope="module")
async def specified(skipper: TimeSkipper, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Stage]:
    """A stage whose worker could submit the opening's template."""
    wanted = TemplateSpecification(
        name=TEMPLATE.name,
        language=TEMPLATE.language,
        provider="scripted",
        category=TemplateCategory.UTILITY,
        body="Hi",
    )
    async with open_stage(skipper, tmp_path, provider, specifications=Specified(wanted)) as opened:
        yield opened


MISSING = TemplateStatus.MISSING
BY_NAME = plan(opening=Opening(template=TEMPLATE.model_copy(update={"id": ""}), flow=FLOW))
"""What does not exist yet has no id to name it by."""


async def test_a_missing_template_with_a_specification_is_submitted_once_for_all_who_wait(specified: Stage) -> None:
    specified.provider.templates = [MISSING, MISSING, PENDING]
    plays = await held(specified, 3, its=BY_NAME)
    assert len(specified.provider.submissions) == 1
    await specified.calendar.pass_time(15 * MINUTE, [p.handle for p in plays])
    assert len(specified.provider.submissions) == 1
    assert len(specified.provider.effects) == 3


async def test_what_a_plan_names_by_an_id_that_does_not_exist_is_not_submitted_under_another(specified: Stage) -> None:
    specified.provider.shut[TEMPLATE.name] = MISSING
    assert (await (await specified.play()).result()).settlement.outcome is Outcome.MISCONFIGURED
    assert specified.provider.submissions == []


async def test_a_person_who_opens_a_gate_where_nobody_waits_opens_it_for_those_who_come(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = PENDING
    gate = Gate(scope=Scope.TEMPLATE, account=stage.line, template=TEMPLATE, watch=True)
    handle = await stage.skipper.client.start_workflow(
        names.GATE, args=[gate, None], id=gate.workflow_id, task_queue=ENGAGEMENTS_QUEUE
    )
    await command(handle, names.RELEASE, "it is approved in the dashboard")
    assert (await end_of(handle)).verdict == "open"
    await held(stage, 1)
    assert len(stage.provider.effects) == 1


async def test_a_submission_whose_answer_was_lost_is_found_and_never_repeated(specified: Stage) -> None:
    specified.provider.templates = [MISSING, MISSING, MISSING, PENDING]
    specified.provider.submit_endings = [OutcomeUnknown("the answer was lost")]
    (play,) = await held(specified, 1, its=BY_NAME)
    await specified.calendar.quiet([await play.gate_handle()])
    assert "was lost" in (await play.gate()).reason
    await play.pass_time(30 * MINUTE)
    assert len(specified.provider.submissions) == 1
    assert len(specified.provider.effects) == 1


async def test_a_submission_that_never_shows_up_waits_for_a_person_who_submits_again(specified: Stage) -> None:
    specified.provider.shut[TEMPLATE.name] = MISSING
    specified.provider.submit_endings = [OutcomeUnknown("the answer was lost")]
    (play,) = await held(specified, 1, its=BY_NAME)
    await play.pass_time(40 * MINUTE)
    assert (await play.gate()).needs_human
    assert len(specified.provider.submissions) == 1
    gate = await play.gate_handle()
    await command(gate, names.RESUBMIT)
    await specified.calendar.quiet([gate])
    assert (len(specified.provider.submissions), (await play.gate()).needs_human) == (2, False)


async def test_a_submission_that_is_refused_ends_those_who_wait_with_the_reason(specified: Stage) -> None:
    specified.provider.shut[TEMPLATE.name] = MISSING
    specified.provider.submit_endings = [ProviderRejected("the body breaks a rule", scope=Scope.TEMPLATE, code="100")]
    play = await specified.play(BY_NAME)
    settlement = (await play.result()).settlement
    assert settlement.outcome is Outcome.TEMPLATE_REJECTED
    assert "the body breaks a rule" in settlement.reason


async def test_a_missing_template_without_a_specification_is_a_mistake_of_the_plan(stage: Stage) -> None:
    stage.provider.shut[TEMPLATE.name] = MISSING
    assert (await (await stage.play()).result()).settlement.outcome is Outcome.MISCONFIGURED
    assert stage.provider.submissions == []
