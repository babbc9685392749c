"""The judge finds what it is there for: a check that cannot fail proves nothing."""

from datetime import UTC, datetime

import pytest

from domain.model import JsonValue
from domain.outcomes import EngagementOutcome, Settlement
from domain.snapshot import EngagementSnapshot
from starter.views import EngagementSummary, EngagementView
from tests.chaos.judge import Evidence, Verdict, judge
from tests.chaos.phones import Message, Told
from tests.chaos.script import Person, Persona

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ADA = Person("ada", "meta", "+31610000001", Persona.ANSWERS, "word-ada", 1.0, prefers_resend=False)
BOB = Person("bob", "meta", "+31610000002", Persona.SILENT, "word-bob", 1.0, prefers_resend=False)


def message(to: Person, template: str = "invitation", reference: str = "", *, arrived: bool = True) -> Message:
    name = reference or f"att_{to.reference}"
    return Message(provider=to.side, to=to.phone.removeprefix("+"), template=template, reference=name, arrived=arrived)


def view(of: Person, outcome: EngagementOutcome | None, **answers: JsonValue) -> EngagementView:
    ids = {"workflow_id": f"engagement:acme:{of.reference}", "tenant": "acme", "reference": of.reference}
    place = {"plan": "intake", "line": "meta-line"}
    settlement = None
    if outcome is not None:
        settlement = Settlement(outcome=outcome, rule="r", reason="because", at=NOW, answers=answers)
    return EngagementView(
        summary=EngagementSummary.model_validate({**ids, **place, "registered_at": NOW, "outcome": outcome}),
        snapshot=EngagementSnapshot.model_validate({**ids, **place, "stage": "closed", "settlement": settlement}),
    )


GOOD = (message(ADA), message(BOB), message(BOB, "reminder"))
ENDS = {
    "ada": view(ADA, EngagementOutcome.COMPLETED, word="word-ada"),
    "bob": view(BOB, EngagementOutcome.NO_REPLY),
}


def judged(
    messages: tuple[Message, ...] = GOOD,
    ends: dict[str, EngagementView] | None = None,
    told: tuple[str, ...] = ("ada", "bob"),
    left: int = 0,
) -> Verdict:
    return judge(
        Evidence(
            people=(ADA, BOB),
            views=ends or ENDS,
            messages=messages,
            references={"att_ada": "ada", "att_bob": "bob"},
            told=[Told(webhook_id=name, body={"data": {"reference": name}}) for name in told],
            left_in_inbox={"events pending": left},
        )
    )


def test_a_run_in_which_all_went_well_is_clean() -> None:
    assert judged().is_clean, judged().faults


@pytest.mark.parametrize("arrived", [True, False])
def test_the_same_step_twice_is_doubled_also_when_it_did_not_arrive(arrived: bool) -> None:  # noqa: FBT001 - a table
    assert len(judged((*GOOD, message(ADA, arrived=arrived))).doubled) == 1


def test_an_answer_that_is_not_in_the_result_is_lost() -> None:
    assert len(judged(ends={**ENDS, "ada": view(ADA, EngagementOutcome.NO_REPLY)}).lost) == 1


def test_the_answer_of_another_phone_is_misattributed() -> None:
    ends = {**ENDS, "bob": view(BOB, EngagementOutcome.COMPLETED, word="word-ada")}
    assert len(judged(ends=ends).misattributed) == 1


def test_a_message_of_another_engagements_send_is_misattributed() -> None:
    assert len(judged((message(ADA, reference="att_bob"), *GOOD[1:])).misattributed) == 1


def test_an_engagement_without_an_end_and_an_event_without_its_engagement_are_stuck() -> None:
    assert len(judged(ends={**ENDS, "bob": view(BOB, None)}).stuck) == 1
    assert len(judged(left=1).stuck) == 1


def test_an_engagement_that_never_sent_anything_is_lost() -> None:
    assert len(judged((message(ADA),)).lost) == 1


def test_an_end_that_the_phone_cannot_explain_is_wrong() -> None:
    assert len(judged(ends={**ENDS, "bob": view(BOB, EngagementOutcome.EXPIRED)}).wrong_end) == 1


@pytest.mark.parametrize("told", [("ada",), ("ada", "bob", "bob")])
def test_the_ats_hears_of_every_end_once(told: tuple[str, ...]) -> None:
    assert len(judged(told=told).untold) == 1
