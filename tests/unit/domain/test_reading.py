"""What events mean, as rules: in any order, with any repeats."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contacts import Candidate
from domain.engagements import Capabilities, Engagement, Route
from domain.events import (
    EventBody,
    FlowRunChanged,
    FlowRunStatus,
    FormAnswered,
    MessageStatus,
    MessageStatusChanged,
    OptOutReceived,
    ProviderEvent,
    ProviderEvents,
    TextReceived,
    Ties,
)
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import Plan
from domain.reading import Reader
from domain.send_record import SendRecord
from domain.sends import FlowRun, LedgerState, SendReceipt
from domain.state import EngagementState

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def engagement(*, confirms_ends: bool = False, unexpected_text: str = "keep-waiting") -> Engagement:
    opening = {"template": {"name": "intake_v1", "language": "nl"}, "flow": {"id": "f"}}
    plan = Plan.model_validate(
        {"name": "intake", "opening": opening, "silence": {"after": "3d"}, "unexpected_text": unexpected_text}
    )
    capabilities = Capabilities(
        has_threads=False,
        can_read_runs=False,
        can_create_templates=False,
        can_cancel_runs=False,
        reads_templates_by_id=False,
        free_form_window=True,
        one_live_run_per_thread=False,
        confirms_ends=confirms_ends,
    )
    return Engagement(
        tenant="acme",
        reference="r-1",
        contact_id="c-1",
        candidate=Candidate(phone="+31612345678"),
        plan=plan,
        route=Route(account="a", line="l", provider="p", capabilities=capabilities),
        requested_at=NOW,
    )


def opened(**record: object) -> EngagementState:
    state = EngagementState(started_at=NOW)
    receipt = SendReceipt(reference="att_1", run_id="run-1", message_id="m-1")
    sent = SendRecord(
        key="k-1",
        step="opening",
        template="intake_v1",
        with_flow=True,
        since=NOW,
        state=LedgerState.SENT,
        receipt=receipt,
    )
    state.sends.append(sent.model_copy(update=record))
    return state


def event(n: int, body: EventBody, **ties: str) -> ProviderEvent:
    return ProviderEvent(key=f"e{n}", occurred_at=NOW, ties=Ties.model_validate(ties), body=body)


STATUSES = st.sampled_from(
    [MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ, MessageStatus.FAILED, MessageStatus.UNKNOWN]
)


@given(st.lists(STATUSES, max_size=12))
def test_a_message_status_never_moves_backwards(statuses: list[MessageStatus]) -> None:
    record = opened().sends[0]
    reached = [-1]
    for status in statuses:
        record.advance_message(status)
        now = record.message_status.rank if record.message_status else -1
        assert now >= reached[-1]
        reached.append(now)
    if MessageStatus.DELIVERED in statuses or MessageStatus.READ in statuses:
        assert record.message_status is not MessageStatus.FAILED, "arrived is arrived"


@given(st.permutations([FlowRunStatus.ACCEPTED, FlowRunStatus.RUNNING, FlowRunStatus.FINISHED, FlowRunStatus.UNKNOWN]))
def test_a_finished_run_completes_in_any_order_of_its_statuses(order: list[FlowRunStatus]) -> None:
    state = opened()
    for n, status in enumerate(order):
        state.receive(
            ProviderEvents(
                events=(event(n, FlowRunChanged(flow_run_status=status, answers={"city": "Utrecht"}), run_id="run-1"),)
            )
        )
        Reader(engagement(), state, NOW).read_news()
    assert state.settlement is not None
    assert state.settlement.outcome is Outcome.COMPLETED
    assert state.sends[0].run_status is FlowRunStatus.FINISHED


@given(st.lists(st.integers(0, 3), max_size=30))
def test_an_event_counts_once_however_often_it_comes(keys: list[int]) -> None:
    state = opened()
    for key in keys:
        state.receive(ProviderEvents(events=(event(key, TextReceived(text="hello")),)))
        Reader(engagement(), state, NOW).read_news()
    assert len([d for d in state.decisions if d.rule == "text"]) == len(set(keys))


def test_the_first_end_of_a_run_wins_and_a_later_one_is_only_recorded() -> None:
    state = opened()
    reader = Reader(engagement(), state, NOW)
    reader.read_event(event(1, FlowRunChanged(flow_run_status=FlowRunStatus.CANCELLED), run_id="run-1"))
    reader.read_event(event(2, FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED), run_id="run-1"))
    assert state.settlement is not None
    assert state.settlement.outcome is Outcome.HANDED_OVER
    assert state.sends[0].run_status is FlowRunStatus.CANCELLED


@pytest.mark.parametrize("earlier", [FlowRunStatus.TIMED_OUT, FlowRunStatus.FAILED])
def test_an_answer_that_arrives_after_the_word_that_its_run_had_ended_still_counts(earlier: FlowRunStatus) -> None:
    state = opened()
    reader = Reader(engagement(), state, NOW)
    finished = FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED, answers={"city": "Quito"})
    reader.read_event(event(1, FlowRunChanged(flow_run_status=earlier), run_id="run-1"))
    reader.read_event(event(2, finished, run_id="run-1"))
    assert state.settlement is not None
    assert (state.settlement.outcome, state.settlement.answers) == (Outcome.COMPLETED, {"city": "Quito"})
    assert state.sends[0].run_status is FlowRunStatus.FINISHED


def test_a_run_that_timed_out_and_is_then_said_to_have_finished_is_asked_for_again() -> None:
    state = opened(run_status=FlowRunStatus.TIMED_OUT)
    reader = Reader(engagement(confirms_ends=True), state, NOW)
    reader.read_event(event(1, FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED), run_id="run-1"))
    assert state.unconfirmed_run == "run-1"
    reader.take_run(FlowRun(run_id="run-1", flow_run_status=FlowRunStatus.FINISHED, answers={"city": "Quito"}))
    assert state.settlement is not None
    assert state.settlement.outcome is Outcome.COMPLETED


def test_an_end_whose_webhook_proves_nothing_is_only_a_reason_to_ask() -> None:
    state = opened()
    finished = FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED)
    Reader(engagement(confirms_ends=True), state, NOW).read_event(event(1, finished, run_id="run-1"))
    assert (state.settlement, state.unconfirmed_run) == (None, "run-1")


@pytest.mark.parametrize(
    "body", [TextReceived(text="thanks!"), MessageStatusChanged(message_status=MessageStatus.FAILED)]
)
def test_what_comes_right_after_a_form_does_not_take_the_place_of_its_answers(body: EventBody) -> None:
    state, asks = opened(), engagement(confirms_ends=True, unexpected_text="answer")
    finished = event(1, FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED), run_id="run-1")
    state.receive(ProviderEvents(events=(finished, event(2, body, message_id="m-1"))))
    Reader(asks, state, NOW).read_news()
    assert (state.unconfirmed_run, state.settlement) == ("run-1", None)
    run = FlowRun(run_id="run-1", flow_run_status=FlowRunStatus.FINISHED, answers={"city": "Quito"})
    Reader(asks, state, NOW).take_run(run)
    Reader(asks, state, NOW).read_news()
    assert state.settlement is not None
    assert (state.settlement.answers, state.settlement.text) == ({"city": "Quito"}, "")


def test_a_text_after_an_end_that_brought_nothing_counts_as_the_plan_says() -> None:
    state, asks = opened(), engagement(confirms_ends=True, unexpected_text="answer")
    timed_out = event(1, FlowRunChanged(flow_run_status=FlowRunStatus.TIMED_OUT), run_id="run-1")
    state.receive(ProviderEvents(events=(timed_out, event(2, TextReceived(text="yes, gladly")))))
    Reader(asks, state, NOW).read_news()
    Reader(asks, state, NOW).take_run(FlowRun(run_id="run-1", flow_run_status=FlowRunStatus.TIMED_OUT))
    Reader(asks, state, NOW).read_news()
    assert state.settlement is not None
    assert state.settlement.text == "yes, gladly"


def test_a_delivered_message_outlives_a_later_failure() -> None:
    state = opened()
    reader = Reader(engagement(), state, NOW)
    reader.read_event(event(1, MessageStatusChanged(message_status=MessageStatus.DELIVERED), message_id="m-1"))
    reader.read_event(event(2, MessageStatusChanged(message_status=MessageStatus.FAILED), message_id="m-1"))
    assert state.settlement is None


def test_a_failure_that_is_not_the_recipients_asks_for_a_person_and_blames_nobody() -> None:
    state = opened()
    body = MessageStatusChanged(message_status=MessageStatus.FAILED, codes=("131048",), recipient_fault=False)
    Reader(engagement(), state, NOW).read_event(event(1, body, message_id="m-1"))
    assert (state.settlement, state.needs_human) == (None, True)


def test_an_event_that_names_no_send_of_ours_moves_no_run() -> None:
    state = opened()
    body = FlowRunChanged(flow_run_status=FlowRunStatus.FINISHED, answers={"city": "Utrecht"})
    Reader(engagement(), state, NOW).read_event(event(1, body, run_id="somebody-elses"))
    assert state.settlement is None


def test_ids_that_an_event_tells_before_the_answer_are_kept() -> None:
    state = opened(state=LedgerState.FREE, receipt=SendReceipt())
    body = MessageStatusChanged(message_status=MessageStatus.SENT)
    told = event(1, body, reference="att_1", message_id="m-9").model_copy(update={"send_key": "k-1"})
    Reader(engagement(), state, NOW).read_event(told)
    assert (state.sends[0].receipt.reference, state.sends[0].receipt.message_id) == ("att_1", "m-9")


def test_what_comes_after_the_outcome_is_recorded_and_changes_nothing() -> None:
    state = opened()
    reader = Reader(engagement(), state, NOW)
    reader.read_event(event(1, OptOutReceived(scope="line", text="STOP")))
    reader.read_event(event(2, FormAnswered(answers={"city": "Quito"}), reference="att_1"))
    assert state.settlement is not None
    assert state.settlement.outcome is Outcome.OPTED_OUT
    assert "came after the outcome" in state.decisions[-1].text


def test_the_decision_log_keeps_its_beginning_and_its_newest_lines() -> None:
    state = EngagementState(started_at=NOW)
    for n in range(1000):
        state.log(NOW + timedelta(seconds=n), "rule", f"line {n}")
    assert (state.decisions[0].text, state.decisions[-1].text) == ("line 0", "line 999")
    assert len(state.decisions) + state.decisions_dropped == 1000
