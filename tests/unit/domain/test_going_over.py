"""When a line is left, as a rule: only where it is known of every message that it did not arrive."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.engagements import Engagement, FallbackRoute, Timing
from domain.events import FlowRunStatus, MessageStatus, MessageStatusChanged
from domain.going_over import GoingOver
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import LastEnd, Plan
from domain.reading import Reader
from domain.send_record import SendRecord
from domain.sends import LedgerState, SendReceipt
from domain.state import EngagementState, Hold, Pause
from tests.unit.domain.test_reading import NOW, engagement, event, opened

OPENING = {"template": {"name": "retry_v1", "language": "nl", "variables": ("city",)}, "flow": {"id": "f"}}
SILENCE = {
    "after": "3d",
    "then": "fallback-line",
    "fallback": {"line": "other", "opening": OPENING, "silence": {"after": "2d", "then": "hand-over"}},
}
STATES = st.sampled_from(list(LedgerState))
MESSAGES = st.none() | st.sampled_from(list(MessageStatus))
RUNS = st.none() | st.sampled_from(list(FlowRunStatus))
SENDS = st.lists(st.tuples(STATES, MESSAGES, RUNS, st.booleans()), max_size=4)
Told = tuple[LedgerState, MessageStatus | None, FlowRunStatus | None, bool]


def with_fallback(**more: object) -> Engagement:
    its = engagement()
    plan = Plan.model_validate({**its.plan.model_dump(), "silence": SILENCE, **more})
    route = its.route.model_copy(update={"line": "other", "account": "b", "provider": "q"})
    return its.model_copy(update={"plan": plan, "fallback": FallbackRoute(route=route, timing=Timing())})


def record(n: int, told: Told) -> SendRecord:
    state, message, run, is_known = told
    receipt = SendReceipt(message_id=f"m-{n}" if is_known else "")
    return SendRecord(
        key=f"k-{n}",
        step="opening",
        template="t",
        with_flow=True,
        since=NOW,
        state=state,
        receipt=receipt,
        message_status=message,
        run_status=run,
    )


def is_lost(told: Told) -> bool:
    """The judge: what may have left and is not told as failed may have arrived."""
    state, message, run, is_known = told
    if message in (MessageStatus.DELIVERED, MessageStatus.READ) or run is FlowRunStatus.FINISHED:
        return False
    never_left = state in (LedgerState.FREE, LedgerState.NOT_SENT, LedgerState.REJECTED) and not is_known
    return never_left or message is MessageStatus.FAILED


@given(SENDS, st.integers(0, 70))
def test_a_line_is_left_only_when_every_message_is_known_not_to_have_arrived(sends: list[Told], days: int) -> None:
    state = EngagementState(started_at=NOW, sends=[record(n, told) for n, told in enumerate(sends)])
    now = NOW + timedelta(days=days)
    left = GoingOver(with_fallback(), state).leave(Outcome.UNREACHABLE, "r", "why", now)
    assert left is (all(is_lost(told) for told in sends) and days < 60)
    assert (state.leaving is not None) is left


@given(SENDS)
def test_it_goes_over_once_and_what_comes_then_is_of_the_other_line(sends: list[Told]) -> None:
    its = with_fallback()
    state = EngagementState(started_at=NOW, admitted=True, sends=[record(n, told) for n, told in enumerate(sends)])
    way = GoingOver(its, state)
    if not way.leave(Outcome.UNREACHABLE, "r", "why", NOW) or state.leaving is None:
        return
    leaving, state.leaving = state.leaving, None
    way.go(leaving, NOW)
    moved = state.applied_to(its)
    assert (moved.route.line, moved.plan.opening.template.name) == ("other", "retry_v1")
    assert (moved.plan.silence.end, moved.plan.follow_ups, state.admitted) == (LastEnd.HAND_OVER, (), False)
    state.sends.append(record(9, (LedgerState.SENT, None, None, True)))
    assert state.sends_here == state.sends[-1:]
    assert all(state.is_of_earlier_line(send) for send in state.sends[:-1])
    assert not state.is_of_earlier_line(state.sends[-1])
    again = GoingOver(moved, state)
    state.sends[-1].message_status = MessageStatus.FAILED
    assert not again.leave(Outcome.UNREACHABLE, "r", "why", NOW)


def test_without_a_fallback_line_a_failure_ends_it_as_ever() -> None:
    state = opened()
    failed = MessageStatusChanged(message_status=MessageStatus.FAILED)
    Reader(engagement(), state, NOW).read_event(event(1, failed, reference="att_1"))
    assert state.settlement is not None
    assert (state.settlement.outcome, state.leaving) == (Outcome.UNREACHABLE, None)


@pytest.mark.parametrize(
    ("rule", "paused", "by_the_line"),
    [
        ("", False, True),
        ("template-not-approved", False, True),
        ("provider-unavailable", False, True),
        ("account-held", False, True),
        ("outside-window", False, False),
        ("capped", False, False),
        ("queued", False, False),
        ("paused", False, False),
        ("account-held", True, False),
    ],
)
def test_what_holds_on_every_line_is_no_reason_to_leave_one(rule: str, *, paused: bool, by_the_line: bool) -> None:
    state = opened()
    state.hold = Hold(rule=rule, reason="r", since=NOW) if rule else None
    state.pause = Pause(actor="a", reason="r", since=NOW) if paused else None
    assert GoingOver(with_fallback(), state).expired_by_the_line() is by_the_line


def test_the_other_lines_variables_and_templates_are_the_plans_too() -> None:
    plan = with_fallback().plan
    assert plan.variables() == {"city"}
    assert [template.name for template in plan.templates()] == ["intake_v1", "retry_v1"]
