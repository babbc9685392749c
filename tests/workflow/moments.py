"""Every moment of an engagement at which an operator may pause it: what the matrix of pauses is made of.

A moment brings an engagement to where it stands, and says how many messages have left once what was in flight has
come to its own ending.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope
from domain.plans import FollowUp, Plan
from domain.sends import TemplateStatus
from store.holds import Pause, PauseScope
from tests.workflow.stage import NUDGE, TEMPLATE, Play, Stage, plan

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def _plan(after: timedelta) -> Plan:
    return plan(follow_ups=(FollowUp(after=after, template=NUDGE),), silence="3d", step_expiry="40d", longest="60d")


PLAN = _plan(2 * DAY)
AT_ONCE = _plan(timedelta(milliseconds=100))


@dataclass(frozen=True)
class Moment:
    """``sent`` is None where a message may or may not have left by then."""

    reach: Callable[[Stage], Awaitable[Play]]
    sent: int | None


async def _at_rest(stage: Stage, its: Plan = PLAN) -> Play:
    play = await stage.play(its)
    await play.rest()
    return play


async def _just_started(stage: Stage) -> Play:
    return await stage.play(PLAN)


async def _template_pending(stage: Stage) -> Play:
    stage.provider.shut[TEMPLATE.name] = TemplateStatus.PENDING
    return await _at_rest(stage)


async def _account_held(stage: Stage) -> Play:
    stage.provider.send_endings = [ProviderRejected("no credit", scope=Scope.ACCOUNT, code="402")]
    return await _at_rest(stage)


async def _waiting_for_another_attempt(stage: Stage) -> Play:
    stage.provider.send_endings = [ProviderUnavailable("too soon", scope=Scope.PAIR, retry_after=HOUR)]
    return await _at_rest(stage)


async def _while_asking(stage: Stage, request: str, its: Plan = PLAN) -> Play:
    reached, _ = stage.provider.pause_at[request] = (asyncio.Event(), asyncio.Event())
    play = await stage.play(its)
    await reached.wait()
    return play


async def _follow_ups_template_being_read(stage: Stage) -> Play:
    reached, go_on = asyncio.Event(), asyncio.Event()
    stage.provider.on_send = lambda send, its: stage.provider.pause_at.update(read_template=(reached, go_on))
    play = await stage.play(AT_ONCE)
    await reached.wait()
    return play


async def _before_the_request(stage: Stage) -> Play:
    reached, _ = stage.provider.pause_before = (asyncio.Event(), asyncio.Event())
    play = await stage.play(PLAN)
    await reached.wait()
    return play


async def _before_the_answer(stage: Stage) -> Play:
    reached, _ = stage.provider.pause_after = (asyncio.Event(), asyncio.Event())
    play = await stage.play(PLAN)
    await reached.wait()
    return play


async def _answer_lost(stage: Stage) -> Play:
    stage.provider.send_endings = [OutcomeUnknown("the answer was lost")]
    stage.provider.lost_without_effect = True
    return await _at_rest(stage)


async def _follow_up_in_flight(stage: Stage) -> Play:
    reached, _ = stage.provider.pause_message = (asyncio.Event(), asyncio.Event())
    play = await stage.play(AT_ONCE)
    await reached.wait()
    return play


async def _follow_up_held(stage: Stage) -> Play:
    play = await _at_rest(stage)
    stage.provider.shut[NUDGE.name] = TemplateStatus.PAUSED
    await stage.stores.templates.mark_stale(stage.line, NUDGE.id)
    await play.pass_time(2.5 * DAY)
    return play


async def _followed_up(stage: Stage) -> Play:
    play = await _at_rest(stage)
    await play.pass_time(2.5 * DAY)
    return play


async def _line_paused(stage: Stage) -> Play:
    at = datetime.now(UTC)
    await stage.stores.holds.pause(
        Pause(scope=PauseScope.LINE, scope_value=stage.line, reason="audit", actor="ina", at=at)
    )
    return await _at_rest(stage)


async def heal(stage: Stage) -> None:
    """Whatever kept it back besides the operator's pause is over."""
    stage.provider.shut.clear()
    await stage.stores.templates.mark_stale(stage.line, TEMPLATE.id)
    await stage.stores.templates.mark_stale(stage.line, NUDGE.id)
    await stage.stores.holds.resume(PauseScope.LINE, stage.line)


def let_go(stage: Stage) -> None:
    """What is in flight comes to its own ending."""
    provider = stage.provider
    its = (provider.pause_before, provider.pause_after, provider.pause_message, *provider.pause_at.values())
    for held_up in its:
        if held_up is not None:
            held_up[1].set()


MOMENTS = {
    "just-started": Moment(_just_started, None),
    "template-being-read": Moment(partial(_while_asking, request="read_template"), 0),
    "thread-being-opened": Moment(partial(_while_asking, request="open_thread"), 0),
    "template-pending": Moment(_template_pending, 0),
    "account-held": Moment(_account_held, 0),
    "line-paused": Moment(_line_paused, 0),
    "waiting-for-another-attempt": Moment(_waiting_for_another_attempt, 0),
    "before-the-request": Moment(_before_the_request, 1),
    "before-the-answer": Moment(_before_the_answer, 1),
    "answer-lost": Moment(_answer_lost, 0),
    "waiting": Moment(_at_rest, 1),
    "asked-before-the-follow-up": Moment(partial(_while_asking, request="read_flow_run", its=AT_ONCE), 1),
    "follow-ups-template-being-read": Moment(_follow_ups_template_being_read, 1),
    "follow-up-in-flight": Moment(_follow_up_in_flight, 2),
    "follow-up-held": Moment(_follow_up_held, 1),
    "followed-up": Moment(_followed_up, 2),
}
