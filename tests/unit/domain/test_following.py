"""Rules of follow-ups as properties: what is due when, and what may leave, against a judge that only counts."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.events import FlowRunChanged, FlowRunStatus, FormAnswered, MessageStatus, MessageStatusChanged, TextReceived
from domain.following import Following, Move
from domain.outcomes import EngagementOutcome
from domain.plans import Plan, Signal
from domain.reading import Reader
from domain.send_record import SendRecord
from domain.sends import LedgerState
from domain.state import EngagementState, PauseSpan
from tests.unit.domain.test_reading import NOW, engagement, event, opened

HOUR = timedelta(hours=1)
SILENCE = 50
TEMPLATE = {"name": "nudge_v1", "language": "nl", "category": "UTILITY"}
OPENING = {"template": {"name": "intake_v1", "language": "nl", "category": "UTILITY"}, "flow": {"id": "f"}}
SIGNALS = st.sampled_from(list(Signal))
Up = tuple[Signal | None, int]
"""A follow-up as the judge knows it: what starts it, and how many hours later it leaves."""


def plan_of(*ups: Mapping[str, object], **more: object) -> Plan:
    whole = {"name": "p", "opening": OPENING, "follow_ups": ups, "silence": {"after": "50h"}}
    return Plan.model_validate({**whole, **more})


def following(plan: Plan, state: EngagementState, country: str = "NL") -> Following:
    return Following(engagement().model_copy(update={"plan": plan, "country": country}), state)


def reader(plan: Plan, state: EngagementState) -> Reader:
    return Reader(engagement().model_copy(update={"plan": plan}), state, NOW)


def outcome_of(state: EngagementState) -> EngagementOutcome | None:
    return state.settlement.outcome if state.settlement is not None else None


def sent(to: EngagementState, **its: object) -> SendRecord:
    record = opened(**its).sends[0]
    to.sends.append(record)
    return record


def judged(ups: list[Up], heard: list[tuple[int, Signal]]) -> list[tuple[int, int]]:
    """Hour by hour, by counting alone: (hour, place) of each follow-up, and (hour, 0) of the end."""
    timed = [place for place, (on, _) in enumerate(ups, 1) if on is None]
    due: dict[int, int] = {}
    left: list[tuple[int, int]] = []
    done: set[int] = set()
    base = hour = 0
    while True:
        for at, signal in heard:
            for place, (on, delay) in enumerate(ups, 1):
                if at == hour and on is signal and place not in due and place not in done:
                    due[place] = hour + delay
        while True:
            waiting = dict(due)
            if timed:
                waiting[timed[0]] = base + ups[timed[0] - 1][1]
            if not waiting and hour >= base + SILENCE:
                return [*left, (hour, 0)]
            ripe = [(at, place) for place, at in waiting.items() if at <= hour]
            if not ripe:
                break
            _, place = min(ripe)
            left.append((hour, place))
            done.add(place)
            due.pop(place, None)
            timed = [other for other in timed if other != place]
            base = hour
        hour += 1


@given(
    st.lists(st.tuples(st.one_of(st.none(), SIGNALS), st.integers(1, 60)), max_size=5),
    st.lists(st.tuples(st.integers(0, 200), SIGNALS), max_size=6),
)
def test_follow_ups_leave_when_a_judge_says_who_only_counts_hours(
    ups: list[Up], heard: list[tuple[int, Signal]]
) -> None:
    plan = plan_of(*({"on": on, "after": delay * HOUR, "template": TEMPLATE} for on, delay in ups))
    state = EngagementState(started_at=NOW, last_message_at=NOW)
    its = following(plan, state)
    left: list[tuple[int, int]] = []
    hour = 0
    while not (left and left[-1][1] == 0):
        for at, signal in heard:
            if at == hour:
                its.hear(signal, NOW + hour * HOUR)
        while (due := its.next_move(NOW + hour * HOUR)).at <= NOW + hour * HOUR:
            left.append((hour, due.place))
            if due.move is Move.SILENCE:
                break
            assert its.objection(due.place) is None
            its.finish(due.place, NOW + hour * HOUR)
        hour += 1
    assert left == judged(ups, heard)
    assert its.left() == 0


@given(st.integers(1, 40), st.integers(0, 60), st.integers(1, 100))
def test_a_pause_moves_what_is_due_by_its_length_and_only_while_it_was_due(
    delay: int, begins: int, length: int
) -> None:
    plan = plan_of({"on": "read", "after": delay * HOUR, "template": TEMPLATE})
    state = opened()
    its = following(plan, state)
    its.hear(Signal.READ, NOW)
    span = PauseSpan(since=NOW + begins * HOUR, until=NOW + (begins + length) * HOUR)
    state.earlier_pauses.append(span)
    moved = length if begins < delay else 0
    assert its.next_move(NOW).at == NOW + (delay + moved) * HOUR


@given(st.lists(st.sampled_from(["text", "answer", "message"]), max_size=12))
def test_nothing_came_means_neither_text_nor_answer_since_our_latest_message(news: list[str]) -> None:
    plan = plan_of({"after": "1h", "when": "nothing-came", "template": TEMPLATE}, unexpected_text="keep-waiting")
    keeps = {"on": {"field": "a", "equals": 1}, "after": "9d", "template": TEMPLATE}
    plan = plan_of(plan.follow_ups[0].model_dump(), keeps)
    state = opened()
    for n, what in enumerate(news):
        if what == "message":
            state.mark_sent(state.sends[0], state.sends[0].receipt, NOW)
        else:
            body = TextReceived(text="hello") if what == "text" else FormAnswered(answers={"a": 1})
            reader(plan, state).read_event(event(n, body))
    since = news[::-1].index("message") if "message" in news else len(news)
    assert (following(plan, state).objection(1) is None) is (since == 0)


@pytest.mark.parametrize("status", [None, *MessageStatus])
def test_delivered_and_not_read_is_about_our_latest_message_that_left(status: MessageStatus | None) -> None:
    plan = plan_of({"after": "1h", "when": "delivered-not-read", "template": TEMPLATE})
    state = opened(message_status=MessageStatus.READ)
    sent(state, message_status=status)
    sent(state, state=LedgerState.FREE)
    assert (following(plan, state).objection(1) is None) is (status is MessageStatus.DELIVERED)


@pytest.mark.parametrize("status", [None, *FlowRunStatus])
def test_a_flow_is_under_way_from_its_start_to_its_end(status: FlowRunStatus | None) -> None:
    plan = plan_of({"after": "1h", "when": "flow-started-not-finished", "template": TEMPLATE})
    state = opened(run_status=status)
    assert (following(plan, state).objection(1) is None) is (status is FlowRunStatus.RUNNING)


STATES = st.lists(
    st.tuples(st.sampled_from(list(LedgerState)), st.integers(0, 30), st.none() | st.sampled_from(list(MessageStatus))),
    max_size=6,
)


@given(STATES, st.integers(1, 6), st.integers(10, 90), st.integers(0, 30))
def test_what_may_have_reached_the_phone_is_paid_for_and_nothing_leaves_over_the_budget(
    sends: list[tuple[LedgerState, int, MessageStatus | None]], messages: int, money: int, price: int
) -> None:
    cents = Decimal("0.01")
    budget = {
        "messages": messages,
        "money": money * cents,
        "currency": "EUR",
        "prices": [{"category": "UTILITY", "price": price * cents}],
    }
    up = {"on": "read", "template": TEMPLATE}
    try:
        plan = plan_of(up, budget=budget)
    except ValidationError:
        assert price > money
        return
    state = EngagementState(started_at=NOW)
    for ledger_state, cost, status in sends:
        sent(state, state=ledger_state, price=cost * cents, message_status=status)
    paid = [
        cost
        for ledger_state, cost, status in sends
        if ledger_state in (LedgerState.SENT, LedgerState.UNKNOWN) and status is not MessageStatus.FAILED
    ]
    allowed = len(paid) < messages and sum(paid) + price <= money
    assert (following(plan, state).objection(1) is None) is allowed


def test_a_country_without_a_price_is_never_guessed() -> None:
    budget = {"money": 1, "currency": "EUR", "prices": [{"category": "UTILITY", "country": "NL", "price": "0.1"}]}
    plan = plan_of({"on": "read", "template": TEMPLATE}, budget=budget)
    state = opened()
    assert following(plan, state, "NL").objection(1) is None
    objection = following(plan, state, "CO").objection(1)
    assert objection is not None
    assert objection.rule == "budget-money"


def test_reading_and_delivery_are_heard_in_any_order_and_what_was_read_has_arrived() -> None:
    plan = plan_of({"on": "delivered", "template": TEMPLATE}, {"on": "read", "template": TEMPLATE})
    state = opened()
    reader(plan, state).read_event(event(1, MessageStatusChanged(message_status=MessageStatus.READ), message_id="m-1"))
    assert [started.place for started in state.started_follow_ups] == [1, 2]


def test_a_run_that_starts_is_heard_once() -> None:
    plan = plan_of({"on": "flow-started", "template": TEMPLATE})
    state = opened()
    for n in range(2):
        reader(plan, state).read_event(event(n, FlowRunChanged(flow_run_status=FlowRunStatus.RUNNING), run_id="run-1"))
    assert [decision.rule for decision in state.decisions].count("signal") == 1


def test_an_answer_that_is_followed_up_ends_nothing_until_its_message_has_left() -> None:
    plan = plan_of({"on": {"field": "when", "equals": "Later"}, "after": "1h", "template": TEMPLATE})
    state = opened()
    its = following(plan, state)
    reader(plan, state).read_event(event(1, FormAnswered(answers={"when": "later "}), reference="att_1"))
    reader(plan, state).read_event(event(2, FormAnswered(answers={"when": "later"}), reference="att_1"))
    assert outcome_of(state) is None
    assert (its.next_move(NOW).move, its.next_move(NOW).at) == (Move.FOLLOW_UP, NOW + HOUR)
    its.finish(1, NOW + HOUR)
    assert its.next_move(NOW + HOUR).move is Move.ANSWERED, "it was told what the plan has to say, and nothing is asked"
    reader(plan, state).read_event(event(3, FormAnswered(answers={"when": "later"}), reference="att_1"))
    assert outcome_of(state) is EngagementOutcome.COMPLETED


def test_while_an_answer_waits_for_its_follow_up_nobody_is_reminded() -> None:
    ups = (
        {"after": "2h", "template": TEMPLATE},
        {"on": {"field": "when", "equals": "later"}, "after": "30h", "template": TEMPLATE, "flow": {"id": "f"}},
    )
    state = opened()
    its = following(plan_of(*ups), state)
    assert its.hear_answers({"when": "later"}, NOW, of_flow=True)
    assert its.next_move(NOW).place == 2


def test_a_button_starts_a_follow_up_and_is_not_taken_for_an_unexpected_text() -> None:
    later = {"on": {"field": "payload", "equals": "later"}, "after": "1h", "template": TEMPLATE}
    plan = plan_of(later, unexpected_text="hand-over")
    state = opened()
    reader(plan, state).read_event(event(1, TextReceived(text="Later, please", payload="later")))
    assert state.settlement is None
    assert [started.place for started in state.started_follow_ups] == [1]


def test_the_log_never_tells_what_was_answered() -> None:
    plan = plan_of({"on": {"field": "salary", "equals": "90210"}, "template": TEMPLATE})
    state = opened()
    reader(plan, state).read_event(event(1, FormAnswered(answers={"salary": "90210"})))
    assert state.decisions
    assert not any("90210" in decision.text for decision in state.decisions)


def test_an_engagement_of_an_earlier_release_goes_on_with_its_next_follow_up() -> None:
    plan = plan_of({"after": "1h", "template": TEMPLATE}, {"after": "2h", "template": TEMPLATE})
    old = EngagementState.model_validate({"started_at": NOW, "follow_ups_done": 1, "last_message_at": NOW})
    due = following(plan, old).next_move(NOW)
    assert (due.place, due.at) == (2, NOW + 2 * HOUR)
