"""Journeys of engagements whose stories people should understand: what the golden stories are told from."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from domain import names
from domain.ats import AtsStatus
from domain.calls import Command, CommandResult, MigratePlan, ResolveSend
from domain.caps import Caps
from domain.engagements import Capabilities
from domain.errors import OutcomeUnknown, ProviderRejected, Scope
from domain.events import (
    FlowRunChanged,
    FlowRunStatus,
    FormAnswered,
    MessageStatus,
    MessageStatusChanged,
    OptOutReceived,
    TextReceived,
)
from domain.free_form import FreeForm
from domain.plans import FollowUp, Plan, Silence, WhenBusy
from domain.sends import TemplateStatus
from tests.workflow.scripted import PUSHED, THREADED
from tests.workflow.second_line import open_second_line
from tests.workflow.stage import NUDGE, Play, Stage, plan
from tests.workflow.test_example_plans import META, TRUORA, example, over, reached, sent

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
MADRID, AMSTERDAM, BOGOTA = "Europe/Madrid", "Europe/Amsterdam", "America/Bogota"
DAYS_OF_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Way = Callable[[Stage], Awaitable[Play]]


@dataclass(frozen=True)
class Journey:
    """One engagement's way, on a provider that can do this much."""

    way: Way
    capabilities: Capabilities = field(default=THREADED)


def without_window(name: str) -> Plan:
    """An example plan whose story must not depend on the day on which it is recorded."""
    return example(name).model_copy(update={"send_window": None})


async def say(play: Play, name: str, reason: str, *, model: type[Command] = Command, **more: object) -> None:
    """An operator, or the tenant's system, says something."""
    command_id = f"{name}-1"
    command = model.model_validate({"command_id": command_id, "actor": "olga", "reason": reason, **more})
    await play.handle.execute_update(name, command, id=command_id, result_type=CommandResult)


async def completed(stage: Stage) -> Play:
    play = await stage.play(without_window("warehouse-intake-nl"), zone=AMSTERDAM, reference="completed")
    await play.rest()
    await reached(play, MessageStatus.DELIVERED)
    await reached(play, MessageStatus.READ)
    await play.pass_time(3 * HOUR)
    await play.finish_run(available="ja")
    return play


async def two_follow_ups_then_silence(stage: Stage) -> Play:
    its = without_window("nurse-screening-es")
    play = await stage.play(its, zone=MADRID, country="ES", reference="two-follow-ups-then-silence")
    await play.rest()
    await reached(play, MessageStatus.READ)
    await over(play)
    return play


async def over_budget(stage: Stage) -> Play:
    its = without_window("nurse-screening-es")
    play = await stage.play(its, zone=AMSTERDAM, country="NL", reference="over-budget")
    await play.rest()
    await reached(play, MessageStatus.READ)
    await over(play)
    return play


async def skipped_by_condition(stage: Stage) -> Play:
    play = await stage.play(without_window("warehouse-intake-nl"), zone=AMSTERDAM, reference="skipped-by-condition")
    await play.rest()
    await play.pass_time(5 * HOUR)
    await play.tell(TextReceived(text="Is het avondwerk?"))
    await over(play)
    return play


async def held_overnight(stage: Stage) -> Play:
    """The window is closed now, and opens on the day after tomorrow."""
    opens = DAYS_OF_WEEK[(datetime.now(UTC) + 2 * DAY).weekday()]
    its = plan(send_window={"hours": {opens: "09:00-18:00"}}, name="weekly-intake")
    play = await stage.play(its, zone=AMSTERDAM, reference="held-overnight")
    await sent(play, 1)
    await play.finish_run(city="Utrecht")
    return play


async def held_at_a_template_gate(stage: Stage) -> Play:
    stage.provider.templates = [TemplateStatus.PENDING, TemplateStatus.PENDING]
    play = await stage.play(zone=AMSTERDAM, reference="held-at-a-template-gate")
    await play.rest()
    await play.pass_time(10 * MINUTE)
    await play.finish_run(city="Utrecht")
    return play


async def paused_by_an_operator(stage: Stage) -> Play:
    its = plan(follow_ups=(FollowUp(after=2 * DAY, template=NUDGE),))
    play = await stage.play(its, zone=AMSTERDAM, reference="paused-by-an-operator")
    await play.rest()
    await play.pass_time(6 * HOUR)
    await say(play, names.PAUSE, "the customer may cancel the order")
    await play.pass_time(3 * DAY)
    await say(play, names.RESUME, "the order stands")
    await sent(play, 2)
    await play.finish_run(city="Utrecht")
    return play


async def opted_out(stage: Stage) -> Play:
    play = await stage.play(without_window("driver-onboarding-co"), zone=BOGOTA, reference="opted-out")
    await play.rest()
    await play.tell(FlowRunChanged(flow_run_status=FlowRunStatus.RUNNING), run_id="run-1")
    await play.pass_time(2 * HOUR)
    await play.tell(OptOutReceived(scope="line", text="STOP"))
    return play


async def capped(stage: Stage) -> Play:
    stage.caps["acme"] = Caps(candidate_per_day=1)
    its = plan(follow_ups=(FollowUp(after=MINUTE, template=NUDGE),))
    play = await stage.play(its, zone="UTC", reference="capped")
    await sent(play, 2)
    await play.finish_run(city="Utrecht")
    return play


async def settled_by_a_person(stage: Stage) -> Play:
    stage.provider.send_endings = [OutcomeUnknown("the answer was lost")]
    play = await stage.play(zone=AMSTERDAM, reference="settled-by-a-person")
    await play.rest()
    await play.pass_time(2 * MINUTE)
    key = (await play.snapshot()).sends[0].key
    await say(play, names.RESOLVE_SEND, "it is in the chat", model=ResolveSend, send_key=key, was_sent=True)
    await play.rest()
    await play.tell(FormAnswered(answers={"city": "Utrecht"}), send_key=key)
    return play


async def queued_behind_another(stage: Stage) -> Play:
    first = await stage.play(zone=AMSTERDAM)
    await first.rest()
    its = plan(when_busy=WhenBusy.QUEUE)
    second = await stage.play(its, zone=AMSTERDAM, reference="queued-behind-another")
    await second.rest()
    await second.pass_time(20 * MINUTE)
    await say(first, names.STOP, "filled")
    await first.result()
    await second.pass_time(2 * HOUR)
    await second.finish_run("run-2", city="Utrecht")
    return second


async def withdrawn_by_the_ats(stage: Stage) -> Play:
    play = await stage.play(without_window("warehouse-intake-nl"), zone=AMSTERDAM, reference="withdrawn-by-the-ats")
    await play.rest()
    await play.pass_time(DAY)
    await say(play, names.ATS_STATUS, "started elsewhere", model=AtsStatus, status="hired")
    return play


async def unreachable(stage: Stage) -> Play:
    play = await stage.play(zone=AMSTERDAM, reference="unreachable")
    await play.rest()
    stage.provider.become("run-1", FlowRunStatus.FAILED)
    await play.tell(MessageStatusChanged(message_status=MessageStatus.FAILED, codes=("131026",)), thread_id="thread-1")
    return play


async def no_consent(stage: Stage) -> Play:
    return await stage.play(consent=False, zone=AMSTERDAM, reference="no-consent")


async def template_of_a_follow_up_expired(stage: Stage) -> Play:
    its = plan(follow_ups=(FollowUp(after=DAY, template=NUDGE),), step_expiry="4h")
    play = await stage.play(its, zone=AMSTERDAM, reference="template-of-a-follow-up-expired")
    await play.rest()
    stage.provider.shut[NUDGE.name] = TemplateStatus.PAUSED
    await play.pass_time(2 * DAY)
    return play


async def released_by_a_person(stage: Stage) -> Play:
    stage.provider.send_endings = [ProviderRejected("the token is not valid", scope=Scope.ACCOUNT, code="401")]
    play = await stage.play(zone=AMSTERDAM, reference="released-by-a-person")
    await play.rest()
    command = Command(command_id="release-1", actor="olga", reason="there is a new token")
    gate = await play.gate_handle()
    await gate.execute_update(names.RELEASE, command, id=command.command_id)
    await gate.result()
    await play.rest()
    await play.finish_run(city="Utrecht")
    return play


async def moved_interview(stage: Stage) -> Play:
    play = await stage.play(example("interview-reminder"), zone=AMSTERDAM, reference="moved-interview")
    await play.rest()
    await reached(play, MessageStatus.DELIVERED)
    await play.pass_time(2 * HOUR)
    await say(play, names.ATS_STATUS, "to Thursday at ten", model=AtsStatus, status="moved")
    await play.rest()
    await over(play)
    return play


async def own_words(stage: Stage) -> Play:
    """Inside the candidate's 24 hours in the plan's own words, after them as template."""
    words = FreeForm(text="Still there, {{first_name}}?")
    its = plan(
        follow_ups=tuple(FollowUp(after=after, template=NUDGE, free_form=words) for after in (2 * HOUR, 2 * DAY))
    )
    play = await stage.play(its, zone=AMSTERDAM, reference="own-words")
    await play.rest()
    await stage.stores.contacts.record_inbound(play.engagement.contact_id, stage.line, datetime.now(UTC))
    await play.tell(TextReceived(text="Is het avondwerk?"))
    await over(play)
    return play


async def fallback_line(stage: Stage) -> Play:
    opening = {
        "template": {"name": "retry_v1", "language": "nl", "variables": ("first_name",)},
        "flow": {"id": "form-9"},
    }
    async with open_second_line(stage, "second-line") as second:
        back = {"line": second.name, "opening": opening, "silence": {"after": "2d"}}
        its = plan().model_copy(
            update={"silence": Silence.model_validate({"after": "3d", "then": "fallback-line", "fallback": back})}
        )
        play = await stage.play(its, zone=AMSTERDAM, reference="fallback-line", fallback=second.route)
        await play.rest()
        failed = MessageStatusChanged(message_status=MessageStatus.FAILED, codes=("131026",))
        await play.tell(failed, thread_id="thread-1")
        await play.rest()
        await play.tell(FormAnswered(answers={"city": "Utrecht"}), send_key=second.provider.effects[0].key)
        await play.result()
    return play


async def moved_to_a_new_plan(stage: Stage) -> Play:
    before = plan(follow_ups=(FollowUp(after=10 * DAY, template=NUDGE),), silence="9d")
    play = await stage.play(before, zone=AMSTERDAM, reference="moved-to-a-new-plan")
    await play.rest()
    await play.pass_time(DAY)
    sooner = plan(follow_ups=(FollowUp(after=2 * DAY, template=NUDGE),), silence="3d", version=2)
    await say(play, names.MIGRATE_PLAN, "the order is urgent", model=MigratePlan, plan=sooner)
    await over(play)
    return play


async def still_open(stage: Stage) -> Play:
    play = await stage.play(without_window("warehouse-intake-nl"), zone=AMSTERDAM, reference="still-open")
    await play.rest()
    await reached(play, MessageStatus.DELIVERED)
    await play.pass_time(2 * DAY + HOUR)
    return play


JOURNEYS = {
    "completed": Journey(completed),
    "two-follow-ups-then-silence": Journey(two_follow_ups_then_silence, META),
    "over-budget": Journey(over_budget, META),
    "skipped-by-condition": Journey(skipped_by_condition),
    "held-overnight": Journey(held_overnight),
    "held-at-a-template-gate": Journey(held_at_a_template_gate),
    "paused-by-an-operator": Journey(paused_by_an_operator),
    "opted-out": Journey(opted_out, TRUORA),
    "capped": Journey(capped),
    "settled-by-a-person": Journey(settled_by_a_person, PUSHED),
    "queued-behind-another": Journey(queued_behind_another, PUSHED),
    "withdrawn-by-the-ats": Journey(withdrawn_by_the_ats),
    "unreachable": Journey(unreachable),
    "no-consent": Journey(no_consent),
    "template-of-a-follow-up-expired": Journey(template_of_a_follow_up_expired),
    "released-by-a-person": Journey(released_by_a_person),
    "moved-interview": Journey(moved_interview),
    "own-words": Journey(own_words, PUSHED.model_copy(update={"free_form_window": True, "free_form_flows": True})),
    "fallback-line": Journey(fallback_line),
    "moved-to-a-new-plan": Journey(moved_to_a_new_plan),
    "still-open": Journey(still_open),
}
STAY_OPEN = {"still-open"}
