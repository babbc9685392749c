"""The four example plans, each carried to every one of its ends; days pass in seconds."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from domain import names
from domain.ats import AtsStatus
from domain.engagements import Capabilities
from domain.events import (
    FlowRunChanged,
    FlowRunStatus,
    FormAnswered,
    MessageStatus,
    MessageStatusChanged,
    OptOutReceived,
    TextReceived,
)
from domain.model import JsonValue
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import Plan
from domain.sends import TemplateStatus
from starter.plans_file import load_plan
from tests.workflow.scripted import PUSHED, THREADED
from tests.workflow.second_line import open_second_line
from tests.workflow.stage import TIMING, Play, Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLANS = Path(__file__).parents[2] / "examples" / "plans"
META = PUSHED.model_copy(update={"tells_starts": False})
TRUORA = PUSHED.model_copy(update={"tells_arrivals": False})
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LOOKS = 30


async def to_the_next_instant(play: Play) -> None:
    """Let time pass until what the engagement waits for is due."""
    until = (await play.snapshot()).until
    assert until is not None, "it waits for nothing"
    now = await play.stage.skipper.get_current_time(play.handle)
    await play.pass_time(max(until - now, timedelta(0)) + timedelta(seconds=1))


def messages(stage: Stage) -> tuple[str, ...]:
    """What reached the phone, on the first line and then on the other."""
    providers = (stage.provider, *stage.accounts.others.values())
    return tuple(send.template.name for provider in providers for send in provider.effects)


async def sent(play: Play, count: int) -> None:
    """Let time pass until so many messages have left; windows open when they open."""
    await play.rest()
    for _ in range(LOOKS):
        if len(messages(play.stage)) >= count:
            return
        await to_the_next_instant(play)
    raise AssertionError(f"{len(messages(play.stage))} of {count} messages left")


async def over(play: Play) -> None:
    """Let time pass until it has ended."""
    await play.rest()
    for _ in range(LOOKS):
        if (await play.snapshot()).settlement is not None:
            return
        await to_the_next_instant(play)
    raise AssertionError("it does not end")


async def reached(play: Play, status: MessageStatus, send: int = 0) -> None:
    """A message of ours got so far."""
    key = (await play.snapshot()).sends[send].key
    await play.tell(MessageStatusChanged(message_status=status), send_key=key)
    await play.rest()


async def form(play: Play, send: int = 0, **answers: JsonValue) -> None:
    """A WhatsApp Flow comes back."""
    key = (await play.snapshot()).sends[send].key
    await play.tell(FormAnswered(answers=answers), send_key=key)
    await play.rest()


async def run(play: Play, status: FlowRunStatus, run_id: str = "run-1", **answers: JsonValue) -> None:
    """A provider that is believed tells of a run."""
    await play.tell(FlowRunChanged(flow_run_status=status, answers=answers), run_id=run_id)
    await play.rest()


Way = Callable[[Play], Awaitable[None]]


@dataclass(frozen=True)
class End:
    """One end of a plan: how it comes about, what it is, and which messages left."""

    way: Way
    outcome: Outcome
    rule: str
    messages: tuple[str, ...]
    country: str = "NL"


# warehouse intake, Recrubo


async def picker_answers(play: Play) -> None:
    await play.finish_run(available="ja")


async def picker_declines(play: Play) -> None:
    await play.finish_run(available="nee")


async def picker_is_silent(play: Play) -> None:
    await over(play)


async def picker_answers_the_reminder(play: Play) -> None:
    await sent(play, 2)
    await play.finish_run(available="ja")


async def picker_writes_and_is_not_reminded(play: Play) -> None:
    await play.tell(TextReceived(text="Is het avondwerk?"))
    await over(play)


async def picker_says_later_and_then_yes(play: Play) -> None:
    await play.finish_run(available="later")
    await play.pass_time(13 * DAY)
    assert len(play.stage.provider.effects) == 1, "nobody is reminded who said when"
    await sent(play, 2)
    await play.finish_run("run-2", available="ja")


async def picker_says_later_and_stays_silent(play: Play) -> None:
    await play.finish_run(available="later")
    await over(play)


async def picker_is_hired_elsewhere(play: Play) -> None:
    await play.command(names.ATS_STATUS, model=AtsStatus, status="hired")


async def asks_to_stop(play: Play) -> None:
    await play.tell(OptOutReceived(scope="line", text="STOP"))


async def picker_is_not_reached_and_answers_on_the_other_line(play: Play) -> None:
    await reached(play, MessageStatus.FAILED)
    await sent(play, 2)
    await form(play, 1, available="ja")


async def picker_is_not_reached_and_stays_silent(play: Play) -> None:
    await reached(play, MessageStatus.FAILED)
    await over(play)


INVITE, REMIND, AGAIN = "magazijn_uitnodiging", "magazijn_herinnering", "magazijn_opnieuw"
ELSEWHERE = "magazijn_uitnodiging_kort"
WAREHOUSE = {
    "answered": End(picker_answers, Outcome.COMPLETED, "flow-finished", (INVITE,)),
    "declined": End(picker_declines, Outcome.DECLINED, "flow-finished", (INVITE,)),
    "silent": End(picker_is_silent, Outcome.HANDED_OVER, "silence", (INVITE, REMIND)),
    "reminded": End(picker_answers_the_reminder, Outcome.COMPLETED, "flow-finished", (INVITE, REMIND)),
    "wrote": End(picker_writes_and_is_not_reminded, Outcome.HANDED_OVER, "silence", (INVITE,)),
    "later-yes": End(picker_says_later_and_then_yes, Outcome.COMPLETED, "flow-finished", (INVITE, AGAIN)),
    "later-silent": End(picker_says_later_and_stays_silent, Outcome.HANDED_OVER, "silence", (INVITE, AGAIN, REMIND)),
    "not-reached-answered": End(
        picker_is_not_reached_and_answers_on_the_other_line, Outcome.COMPLETED, "form-answer", (INVITE, ELSEWHERE)
    ),
    "not-reached-silent": End(
        picker_is_not_reached_and_stays_silent, Outcome.HANDED_OVER, "silence", (INVITE, ELSEWHERE)
    ),
    "hired": End(picker_is_hired_elsewhere, Outcome.WITHDRAWN, "ats-hired", (INVITE,)),
    "opted-out": End(asks_to_stop, Outcome.OPTED_OUT, "opt-out-line", (INVITE,)),
}


# nurse screening, Meta


async def nurse_answers(play: Play) -> None:
    await form(play, interested=True)


async def nurse_declines(play: Play) -> None:
    await form(play, interested=False)


async def nurse_declines_by_button(play: Play) -> None:
    await reached(play, MessageStatus.READ)
    await sent(play, 2)
    await play.tell(TextReceived(text="No me interesa", payload="no-interest"))


async def nurse_writes(play: Play) -> None:
    await play.tell(TextReceived(text="¿Qué turno es?"))


async def nurse_never_reads(play: Play) -> None:
    await reached(play, MessageStatus.DELIVERED)
    await over(play)


async def nurse_reads_and_is_silent(play: Play) -> None:
    await reached(play, MessageStatus.READ)
    await over(play)


async def nurse_answers_the_last_form(play: Play) -> None:
    await sent(play, 2)
    await form(play, 1, interested=True)


SCREEN, NUDGE, LAST = "enfermeria_cribado", "enfermeria_recordatorio", "enfermeria_ultimo"
NURSE = {
    "answered": End(nurse_answers, Outcome.COMPLETED, "form-answer", (SCREEN,), "ES"),
    "declined": End(nurse_declines, Outcome.DECLINED, "form-answer", (SCREEN,), "ES"),
    "declined-by-button": End(nurse_declines_by_button, Outcome.DECLINED, "text", (SCREEN, NUDGE), "ES"),
    "wrote": End(nurse_writes, Outcome.HANDED_OVER, "text", (SCREEN,), "ES"),
    "unread": End(nurse_never_reads, Outcome.NO_REPLY, "silence", (SCREEN, LAST), "ES"),
    "read-silent": End(nurse_reads_and_is_silent, Outcome.NO_REPLY, "silence", (SCREEN, NUDGE, LAST), "ES"),
    "last-form": End(nurse_answers_the_last_form, Outcome.COMPLETED, "form-answer", (SCREEN, LAST), "ES"),
    "over-budget": End(nurse_reads_and_is_silent, Outcome.NO_REPLY, "silence", (SCREEN,), "NL"),
    "opted-out": End(asks_to_stop, Outcome.OPTED_OUT, "opt-out-line", (SCREEN,), "ES"),
}


# driver onboarding, Truora


async def driver_hands_in(play: Play) -> None:
    await run(play, FlowRunStatus.RUNNING)
    await run(play, FlowRunStatus.FINISHED, licence="C2")


async def driver_has_no_licence(play: Play) -> None:
    await run(play, FlowRunStatus.FINISHED, licence="ninguna")


async def driver_cancels(play: Play) -> None:
    await play.tell(
        FlowRunChanged(flow_run_status=FlowRunStatus.CANCELLED, cancelled_by_candidate=True), run_id="run-1"
    )


async def driver_begins_and_needs_a_nudge(play: Play) -> None:
    await run(play, FlowRunStatus.RUNNING)
    await play.pass_time(13 * HOUR)
    await run(play, FlowRunStatus.FINISHED, licence="C2")


async def driver_begins_and_gives_up(play: Play) -> None:
    await run(play, FlowRunStatus.RUNNING)
    await over(play)


async def driver_never_begins(play: Play) -> None:
    await over(play)


async def driver_begins_when_reminded(play: Play) -> None:
    await play.pass_time(2 * DAY + HOUR)
    await run(play, FlowRunStatus.RUNNING, "run-2")
    await run(play, FlowRunStatus.FINISHED, "run-2", licence="C1")


async def driver_writes(play: Play) -> None:
    await play.tell(TextReceived(text="¿Qué documentos son?"))


WELCOME, DOCUMENTS, REMINDER = "conductores_bienvenida", "conductores_documentos", "conductores_recordatorio"
DRIVER = {
    "answered": End(driver_hands_in, Outcome.COMPLETED, "flow-finished", (WELCOME,)),
    "declined": End(driver_has_no_licence, Outcome.DECLINED, "flow-finished", (WELCOME,)),
    "cancelled": End(driver_cancels, Outcome.DECLINED, "cancelled-by-candidate", (WELCOME,)),
    "nudged": End(driver_begins_and_needs_a_nudge, Outcome.COMPLETED, "flow-finished", (WELCOME, DOCUMENTS)),
    "gave-up": End(driver_begins_and_gives_up, Outcome.HANDED_OVER, "silence", (WELCOME, DOCUMENTS, REMINDER)),
    "silent": End(driver_never_begins, Outcome.HANDED_OVER, "silence", (WELCOME, REMINDER)),
    "reminded": End(driver_begins_when_reminded, Outcome.COMPLETED, "flow-finished", (WELCOME, REMINDER)),
    "wrote": End(driver_writes, Outcome.HANDED_OVER, "text", (WELCOME,)),
    "opted-out": End(asks_to_stop, Outcome.OPTED_OUT, "opt-out-line", (WELCOME,)),
}


# interview reminder, Recrubo


async def guest_comes(play: Play) -> None:
    await play.finish_run(coming="yes")


async def guest_does_not_come(play: Play) -> None:
    await play.finish_run(coming="no")


async def guest_taps_and_answers(play: Play) -> None:
    await play.tell(TextReceived(text="Let us begin"))
    await play.finish_run(coming="yes")


async def guest_writes(play: Play) -> None:
    await play.tell(TextReceived(text="See you there"))
    await over(play)


async def guest_wants_another_day(play: Play) -> None:
    await play.finish_run(coming="another-day")


async def guest_does_not_read(play: Play) -> None:
    await reached(play, MessageStatus.DELIVERED)
    await over(play)


async def guest_reads_and_is_silent(play: Play) -> None:
    await reached(play, MessageStatus.READ)
    await over(play)


async def interview_moves(play: Play) -> None:
    await play.command(names.ATS_STATUS, model=AtsStatus, status="moved")
    await play.rest()
    await play.finish_run(coming="yes")


async def guest_withdraws(play: Play) -> None:
    await play.command(names.ATS_STATUS, model=AtsStatus, status="withdrawn")


TOMORROW, SHORT, CALL, MOVED = "interview_tomorrow", "interview_short", "interview_we_call", "interview_moved"
INTERVIEW = {
    "comes": End(guest_comes, Outcome.COMPLETED, "flow-finished", (TOMORROW,)),
    "does-not-come": End(guest_does_not_come, Outcome.DECLINED, "flow-finished", (TOMORROW,)),
    "taps": End(guest_taps_and_answers, Outcome.COMPLETED, "flow-finished", (TOMORROW,)),
    "writes": End(guest_writes, Outcome.HANDED_OVER, "silence", (TOMORROW,)),
    "another-day": End(guest_wants_another_day, Outcome.COMPLETED, "answered", (TOMORROW, CALL)),
    "unread": End(guest_does_not_read, Outcome.HANDED_OVER, "silence", (TOMORROW, SHORT)),
    "read": End(guest_reads_and_is_silent, Outcome.HANDED_OVER, "silence", (TOMORROW,)),
    "moved": End(interview_moves, Outcome.COMPLETED, "flow-finished", (TOMORROW, MOVED)),
    "withdrawn": End(guest_withdraws, Outcome.WITHDRAWN, "ats-withdrawn", (TOMORROW,)),
    "opted-out": End(asks_to_stop, Outcome.OPTED_OUT, "opt-out-line", (TOMORROW,)),
}

EXAMPLES: dict[str, tuple[Capabilities, dict[str, End]]] = {
    "warehouse-intake-nl": (THREADED, WAREHOUSE),
    "nurse-screening-es": (META, NURSE),
    "driver-onboarding-co": (TRUORA, DRIVER),
    "interview-reminder": (THREADED, INTERVIEW),
}
ENDS = [(name, end) for name, (_, ends) in EXAMPLES.items() for end in ends]


def example(name: str) -> Plan:
    return load_plan(PLANS / f"{name}.yaml")


@pytest.mark.parametrize(("name", "end"), ENDS, ids=[f"{name}-{end}" for name, end in ENDS])
async def test_an_example_plan_comes_to_this_end(stage: Stage, name: str, end: str) -> None:
    capabilities, ends = EXAMPLES[name]
    wanted = ends[end]
    stage.provider.capabilities = capabilities
    async with AsyncExitStack() as stack:
        plan, over = example(name), None
        if plan.fallback is not None and plan.fallback.opening.template.name in wanted.messages:
            second = await stack.enter_async_context(open_second_line(stage, plan.fallback.line))
            over = second.route
        play = await stage.play(plan, country=wanted.country, fallback=over)
        await sent(play, 1)
        await play.rest()
        await wanted.way(play)
        settlement = (await play.result()).settlement
        assert (settlement.outcome, settlement.rule) == (wanted.outcome, wanted.rule)
        assert messages(stage) == wanted.messages


async def test_a_reminder_that_could_not_leave_for_hours_expires_by_its_own_rule(stage: Stage) -> None:
    its = example("interview-reminder")
    stage.provider.shut = {its.opening.template.name: TemplateStatus.PENDING}
    seldom = TIMING.model_copy(update={"template_poll": HOUR, "template_poll_ceiling": HOUR})
    play = await stage.play(its, timing=seldom)
    await play.rest()
    await play.pass_time(5 * HOUR)
    assert (await play.result()).settlement.outcome is Outcome.EXPIRED
    assert stage.provider.effects == []


async def test_every_example_plan_is_played_and_each_of_its_messages_leaves_in_some_end() -> None:
    assert {path.stem for path in PLANS.glob("*.yaml")} - {"prices-eur"} == set(EXAMPLES)
    for name, (_, ends) in EXAMPLES.items():
        played = {message for end in ends.values() for message in end.messages}
        assert played == {template.name for template in example(name).templates()}
