"""One journey per end of an engagement: what the stored histories are recorded from."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from domain import names
from domain.calls import Command
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope
from domain.events import FlowRunStatus, MessageStatus, MessageStatusChanged, OptOutReceived
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import FollowUp
from domain.sends import TemplateStatus
from tests.workflow.stage import FLOW, NUDGE, TEMPLATE, Play, Stage, plan

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
Journey = Callable[[Stage], Awaitable[Play]]


NUDGES = (FollowUp(after=DAY, template=NUDGE), FollowUp(after=DAY, template=TEMPLATE, flow=FLOW))


async def completed(stage: Stage) -> Play:
    """One of many by the same template, as most are: somebody's was read within the hour."""
    await stage.read_for_others(TEMPLATE)
    return await completed_by_itself(stage)


async def completed_by_itself(stage: Stage) -> Play:
    play = await stage.play()
    await play.rest()
    await play.finish_run(city="Utrecht")
    return play


async def completed_after_follow_ups(stage: Stage) -> Play:
    """One of many here too, also when the follow-ups are due."""
    await stage.read_for_others(TEMPLATE)
    play = await stage.play(plan(follow_ups=NUDGES))
    for template in (NUDGE, TEMPLATE):
        await play.rest()
        await play.pass_time(DAY - 15 * MINUTE)
        await stage.read_for_others(template)
        await play.pass_time(20 * MINUTE)
    await play.finish_run("run-2", city="Utrecht")
    return play


async def completed_after_follow_ups_by_itself(stage: Stage) -> Play:
    play = await stage.play(plan(follow_ups=NUDGES))
    await play.rest()
    await play.pass_time(2.5 * DAY)
    await play.finish_run("run-2", city="Utrecht")
    return play


async def told_of_arrival(stage: Stage) -> Play:
    """The provider tells how the message arrives before the candidate answers."""
    await stage.read_for_others(TEMPLATE)
    play = await stage.play()
    await play.rest()
    reference = (await play.snapshot()).sends[0].reference
    for status in (MessageStatus.DELIVERED, MessageStatus.READ):
        await play.tell(MessageStatusChanged(message_status=status), reference=reference)
        await play.rest()
    await play.finish_run(city="Utrecht")
    return play


async def told_once_more(stage: Stage) -> Play:
    """The tenant's system does not take the outcome at once."""
    stage.ats.endings = [ProviderUnavailable("ATS is down")]
    return await completed(stage)


async def declined(stage: Stage) -> Play:
    play = await stage.play(plan(declined_when=({"field": "available", "equals": "no"},)))
    await play.rest()
    await play.finish_run(available="no")
    return play


async def opted_out(stage: Stage) -> Play:
    play = await stage.play()
    await play.rest()
    await play.tell(OptOutReceived(scope="line", text="STOP"))
    return play


async def no_reply(stage: Stage) -> Play:
    play = await stage.play(plan(follow_ups=(FollowUp(after=2 * DAY, template=NUDGE),), silence="3d"))
    await play.rest()
    await play.pass_time(6 * DAY)
    return play


async def unreachable(stage: Stage) -> Play:
    play = await stage.play()
    await play.rest()
    stage.provider.become("run-1", FlowRunStatus.FAILED)
    await play.tell(MessageStatusChanged(message_status=MessageStatus.FAILED, codes=("131026",)), thread_id="thread-1")
    return play


async def misconfigured(stage: Stage) -> Play:
    stage.provider.send_endings = [ProviderRejected("wrong parameters", scope=Scope.MESSAGE, code="422")]
    return await stage.play()


async def template_rejected(stage: Stage) -> Play:
    stage.provider.templates = [TemplateStatus.PENDING, TemplateStatus.REJECTED]
    play = await stage.play()
    await play.rest()
    await play.pass_time(timedelta(minutes=5))
    return play


async def expired(stage: Stage) -> Play:
    stage.provider.send_endings = [ProviderUnavailable("down", retry_after=timedelta(minutes=20))] * 1000
    play = await stage.play(plan(step_expiry="1h"))
    await play.rest()
    await play.pass_time(timedelta(hours=2))
    return play


async def stopped(stage: Stage) -> Play:
    play = await stage.play()
    await play.rest()
    await play.command(names.STOP)
    return play


async def handed_over(stage: Stage) -> Play:
    play = await stage.play()
    await play.rest()
    await play.command(names.HAND_OVER)
    return play


async def refused(stage: Stage) -> Play:
    return await stage.play(consent=False)


async def reconciled(stage: Stage) -> Play:
    stage.provider.send_endings = [OutcomeUnknown("the answer was lost")]
    play = await stage.play()
    await play.rest()
    await play.pass_time(timedelta(minutes=2))
    await play.finish_run(city="Utrecht")
    return play


async def approved_at_gate(stage: Stage) -> Play:
    stage.provider.templates = [TemplateStatus.PENDING, TemplateStatus.PENDING]
    play = await stage.play()
    await play.rest()
    await play.pass_time(timedelta(minutes=10))
    await play.finish_run(city="Utrecht")
    return play


async def account_held_then_tried(stage: Stage) -> Play:
    refused = ProviderRejected("the token is not valid", scope=Scope.ACCOUNT, code="401")
    stage.provider.send_endings = [refused, refused]
    play = await stage.play()
    await play.rest()
    await play.pass_time(timedelta(minutes=15))
    await play.finish_run(city="Utrecht")
    return play


async def released_by_a_person(stage: Stage) -> Play:
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PAUSED
    play = await stage.play()
    await play.rest()
    command = Command(command_id="release-1", actor="olga", reason="the provider's list is wrong")
    gate = await play.gate_handle()
    await gate.execute_update(names.RELEASE, command, id=command.command_id)
    await gate.result()
    await play.rest()
    await play.finish_run(city="Utrecht")
    return play


async def stopped_at_gate(stage: Stage) -> Play:
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PENDING
    play = await stage.play()
    await play.rest()
    await play.command(names.STOP)
    return play


JOURNEYS: dict[str, tuple[Journey, Outcome]] = {
    "completed": (completed, Outcome.COMPLETED),
    "completed-after-follow-ups": (completed_after_follow_ups, Outcome.COMPLETED),
    "completed-by-itself": (completed_by_itself, Outcome.COMPLETED),
    "completed-after-follow-ups-by-itself": (completed_after_follow_ups_by_itself, Outcome.COMPLETED),
    "told-of-arrival": (told_of_arrival, Outcome.COMPLETED),
    "told-once-more": (told_once_more, Outcome.COMPLETED),
    "declined": (declined, Outcome.DECLINED),
    "opted-out": (opted_out, Outcome.OPTED_OUT),
    "no-reply": (no_reply, Outcome.NO_REPLY),
    "unreachable": (unreachable, Outcome.UNREACHABLE),
    "misconfigured": (misconfigured, Outcome.MISCONFIGURED),
    "template-rejected": (template_rejected, Outcome.TEMPLATE_REJECTED),
    "expired": (expired, Outcome.EXPIRED),
    "stopped": (stopped, Outcome.STOPPED),
    "handed-over": (handed_over, Outcome.HANDED_OVER),
    "refused": (refused, Outcome.REFUSED),
    "reconciled": (reconciled, Outcome.COMPLETED),
    "approved-at-gate": (approved_at_gate, Outcome.COMPLETED),
    "account-held-then-tried": (account_held_then_tried, Outcome.COMPLETED),
    "released-by-a-person": (released_by_a_person, Outcome.COMPLETED),
    "stopped-at-gate": (stopped_at_gate, Outcome.STOPPED),
}
