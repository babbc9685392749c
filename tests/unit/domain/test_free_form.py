"""The message that may leave without a template: what a plan may write, when it leaves, and what follows a failure."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.budgets import Budget
from domain.contacts import Candidate
from domain.engagements import Engagement
from domain.events import MessageStatus, MessageStatusChanged, ProviderEvent, Ties
from domain.following import Following, Move, form_in_words
from domain.free_form import MARGIN, WINDOW, FreeForm, MessageForm, form_at
from domain.plans import FlowRef, FollowUp, Opening, TemplateRef
from domain.reading import Reader
from domain.send_record import SendRecord
from domain.sends import LedgerState, SendReceipt
from domain.state import EngagementState
from tests.unit.store.samples import an_engagement

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TEMPLATE = TemplateRef(name="nudge", language="en", id="tpl-1")
FREE = FreeForm(text="Hi {{first_name}}, is {{ city }} still right?")


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4)))
def test_it_leaves_without_a_template_only_while_the_providers_window_is_open(ago: timedelta) -> None:
    form = form_at(NOON - ago, NOON)
    if ago >= WINDOW:
        assert form is MessageForm.TEMPLATE
    if ago < WINDOW - MARGIN:
        assert form is MessageForm.FREE_FORM


def test_just_before_its_end_the_window_counts_as_closed() -> None:
    assert form_at(NOON - (WINDOW - MARGIN), NOON) is MessageForm.TEMPLATE
    assert form_at(NOON - (WINDOW - MARGIN) + timedelta(seconds=1), NOON) is MessageForm.FREE_FORM
    assert form_at(None, NOON) is MessageForm.TEMPLATE


def test_it_is_filled_with_the_columns_of_the_candidate_and_with_nothing_of_theirs_twice() -> None:
    assert FREE.variables() == ("first_name", "city")
    message = FREE.filled({"first_name": "{{city}}", "city": r"\1 Quito"})
    assert message.text == r"Hi {{city}}, is \1 Quito still right?"


@pytest.mark.parametrize(
    ("member", "written"),
    [
        ("text", {"text": " "}),
        ("text", {"text": "Hi {{1}}"}),
        ("text", {"text": "Hi {{first name}}"}),
        ("text", {"text": "Hi {{first_name"}),
        ("text", {"text": "Hi first_name}}"}),
        ("button", {"text": "Hi", "button": "Open \U0001f600"}),
    ],
)
def test_what_cannot_be_filled_or_shown_is_a_mistake_at_its_member(member: str, written: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as raised:
        FreeForm.model_validate(written)
    (found,) = raised.value.errors()
    assert [place for place, _ in found["ctx"]["error"].findings] == [(member,)]


@pytest.mark.parametrize("with_flow", [True, False])
@pytest.mark.parametrize("with_button", [True, False])
def test_a_button_and_a_flow_go_together(*, with_flow: bool, with_button: bool) -> None:
    free_form = FreeForm(text="Hi", button="Open form" if with_button else "")
    flow = FlowRef(id="flow-1") if with_flow else None
    if with_flow is with_button:
        assert FollowUp(after=DAY, template=TEMPLATE, flow=flow, free_form=free_form).free_form == free_form
    else:
        with pytest.raises(ValidationError, match="free_form"):
            FollowUp(after=DAY, template=TEMPLATE, flow=flow, free_form=free_form)


def test_the_plan_needs_the_columns_of_its_free_texts_too() -> None:
    plan = engagement().plan
    assert plan.variables() == {"first_name", "city", "shift"}
    assert [place for place, _ in plan.free_forms()] == [("opening", "free_form"), ("follow_ups", 0, "free_form")]


@pytest.mark.parametrize(
    ("form", "inbound_at", "words"),
    [
        (None, None, ""),
        (MessageForm.FREE_FORM, NOON - 3 * HOUR, "the candidate wrote 3 hours ago"),
        (
            MessageForm.TEMPLATE,
            NOON - 50 * HOUR,
            "the 24-hour window is closed, the candidate wrote 2 days 2 hours ago",
        ),
        (MessageForm.TEMPLATE, None, "the 24-hour window is closed, the candidate has not written to this line"),
    ],
)
def test_the_log_says_why_it_left_as_it_did(form: MessageForm | None, inbound_at: datetime | None, words: str) -> None:
    assert form_in_words(SendReceipt(form=form, inbound_at=inbound_at), NOON) == words


def engagement(**plan: object) -> Engagement:
    opening = Opening(
        template=TEMPLATE,
        flow=FlowRef(id="flow-1"),
        free_form=FreeForm(text="The {{shift}} shift", button="Open"),
    )
    nudge = FollowUp(after=2 * DAY, template=TEMPLATE, free_form=FREE)
    base = an_engagement("c-1")
    its = base.plan.model_copy(update={"opening": opening, "follow_ups": (nudge,), **plan})
    return base.model_copy(update={"plan": its, "candidate": Candidate(phone="+31612345678")})


def taken(step: str = "opening", *, offered: bool = True) -> SendRecord:
    return SendRecord(
        key=f"{step}/1",
        step=step,
        template="nudge",
        with_flow=False,
        since=NOON,
        state=LedgerState.SENT,
        receipt=SendReceipt(message_id=f"m-{step}"),
        free_form_offered=offered,
    )


def failed(message_id: str, *, thread_id: str = "", window_closed: bool = True) -> ProviderEvent:
    body = MessageStatusChanged(message_status=MessageStatus.FAILED, recipient_fault=True, window_closed=window_closed)
    return ProviderEvent(
        key=message_id, occurred_at=NOON, ties=Ties(message_id=message_id, thread_id=thread_id), body=body
    )


def after(event: ProviderEvent, *records: SendRecord) -> tuple[EngagementState, Move]:
    state = EngagementState(started_at=NOON, sends=list(records), last_message_at=NOON)
    Reader(engagement(), state, NOON).read_event(event)
    return state, Following(engagement(), state).next_move(NOON).move


def test_a_free_text_that_failed_for_the_window_leaves_as_template_next() -> None:
    state, move = after(failed("m-opening"), taken())
    assert (move, state.settlement, state.needs_human) == (Move.TEMPLATE, None, False)


def test_what_left_as_template_anyway_is_judged_as_ever() -> None:
    state, _ = after(failed("m-opening"), taken(offered=False))
    assert state.settlement is not None
    state, _ = after(failed("m-opening", window_closed=False), taken())
    assert state.settlement is not None


def test_nothing_follows_a_failure_that_may_be_of_another_message_of_the_thread() -> None:
    state, move = after(failed("m-of-the-bot", thread_id="t-1"), taken())
    assert (move, state.settlement, state.needs_human) == (Move.FOLLOW_UP, None, True)


def test_nothing_follows_once_a_later_message_has_left() -> None:
    _, move = after(failed("m-opening"), taken(), taken("follow-up-1"))
    assert move is not Move.TEMPLATE


def test_what_arrived_after_all_is_not_sent_again() -> None:
    state, move = after(failed("m-opening"), taken())
    assert move is Move.TEMPLATE
    arrived = MessageStatusChanged(message_status=MessageStatus.DELIVERED)
    event = ProviderEvent(key="late", occurred_at=NOON, ties=Ties(message_id="m-opening"), body=arrived)
    Reader(engagement(), state, NOON).read_event(event)
    assert Following(engagement(), state).next_move(NOON).move is not Move.TEMPLATE


def test_without_a_template_a_message_costs_what_the_table_says_of_service_else_nothing() -> None:
    utility = {"category": "UTILITY", "price": "0.05"}
    for prices, cost in (
        ([utility], Decimal(0)),
        ([utility, {"category": "SERVICE", "price": "0.01"}], Decimal("0.01")),
    ):
        budget = Budget.model_validate({"money": "1", "currency": "EUR", "prices": prices})
        following = Following(engagement(budget=budget), EngagementState(started_at=NOON))
        template = TEMPLATE.model_copy(update={"category": "UTILITY"})
        assert following.price(template) == Decimal("0.05"), "before it leaves the dearer is reckoned with"
        assert following.price(template, MessageForm.FREE_FORM) == cost
