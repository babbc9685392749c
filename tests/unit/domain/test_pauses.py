"""What a pause does to deadlines, against an oracle that counts minutes one by one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import names
from domain.calls import Command, MarkAnswered
from domain.outcomes import EngagementOutcome
from domain.state import EngagementState, PauseSpan

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def spans(borders: list[int]) -> list[PauseSpan]:
    """Pauses in order of time that do not touch."""
    pairs = zip(borders[::2], borders[1::2], strict=False)
    return [PauseSpan(since=START + a * MINUTE, until=START + b * MINUTE) for a, b in pairs]


def oracle(since: int, length: int, pauses: list[tuple[int, int]]) -> int:
    """Walk minute by minute; a minute inside a pause does not count."""
    at, passed = since, 0
    while passed < length:
        if not any(begun <= at < ended for begun, ended in pauses):
            passed += 1
        at += 1
    return at


@given(
    borders=st.lists(st.integers(0, 300), unique=True, max_size=10).map(sorted),
    since=st.integers(0, 300),
    length=st.integers(1, 200),
)
def test_a_deadline_counts_only_the_time_outside_pauses(borders: list[int], since: int, length: int) -> None:
    state = EngagementState(started_at=START, earlier_pauses=spans(borders))
    pauses = list(zip(borders[::2], borders[1::2], strict=False))
    assert state.deadline(START + since * MINUTE, length * MINUTE) == START + oracle(since, length, pauses) * MINUTE


def command(command_id: str) -> Command:
    return Command(command_id=command_id, actor="olga", reason="because")


def test_a_resume_that_comes_with_its_pause_finds_it_paused() -> None:
    state = EngagementState(started_at=START)
    state.accept(names.PAUSE, command("p-1"), "paused", START)
    assert state.is_paused(), "accepted counts, also before it is acted on"
    state.accept(names.RESUME, command("r-1"), "going on", START)
    assert not state.is_paused()


def test_the_end_of_an_engagement_ends_its_pause() -> None:
    state = EngagementState(started_at=START)
    state.begin_pause(command("p-1"), START)
    state.settle(outcome=EngagementOutcome.STOPPED, rule="stop", reason="because", at=START + MINUTE)
    assert state.pause is None


def test_what_is_carried_to_a_fresh_run_keeps_the_pause_and_those_before_it() -> None:
    state = EngagementState(started_at=START, earlier_pauses=spans([1, 2]))
    state.begin_pause(command("p-1"), START + 5 * MINUTE)
    carried = EngagementState.model_validate_json(state.carried().model_dump_json())
    assert (carried.pause, carried.earlier_pauses) == (state.pause, state.earlier_pauses)


def test_a_word_that_says_nothing_of_an_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="say what the candidate answered"):
        MarkAnswered(command_id="c", actor="olga", reason="because", text="  ")
