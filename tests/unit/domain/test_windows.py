"""Send windows against an oracle that walks over real zones minute by minute, and the words they are written in."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.plans import Plan
from domain.windows import SendWindow, closes_at, faults, is_open, longest_closed, opens_at

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
NAMES = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
OFFICE = SendWindow(hours={"mon-fri": "09:00-18:00"})
AMSTERDAM = ZoneInfo("Europe/Amsterdam")

ZONES = [
    "UTC",
    "Europe/Amsterdam",
    "America/Bogota",
    "America/New_York",
    "America/Havana",
    "America/Santiago",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Tehran",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
]
"""With clocks moved at two, at midnight, by half an hour, backwards for a month, never; a zone that skipped a day."""
MOVES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Amsterdam, forward
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Amsterdam, back
    datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York, back
    datetime(2018, 11, 4, 3, tzinfo=UTC),  # Sao Paulo: no midnight
    datetime(2018, 2, 18, 2, tzinfo=UTC),  # Sao Paulo: an evening hour twice
    datetime(2026, 11, 1, 5, tzinfo=UTC),  # Havana: midnight twice
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe, half an hour back
    datetime(2026, 2, 15, 2, tzinfo=UTC),  # Casablanca, Ramadan
    datetime(2011, 12, 30, 10, tzinfo=UTC),  # Apia: the thirtieth never was
]


def oracle(window: SendWindow, zone: str, instant: datetime) -> bool:
    """Whether a clock on the wall shows open hours: by text, without any arithmetic of the implementation's."""
    local = instant.astimezone(ZoneInfo(zone))
    text = local.isoformat()
    if any(str(holiday) == text[:10] for holiday in window.holidays):
        return False
    shows, today = text[11:16], NAMES[local.weekday()]
    yesterday = NAMES[(local.weekday() - 1) % 7]
    for days, hours in window.hours.items():
        named = (NAMES * 2)[NAMES.index(days[:3]) :]
        named = named[: named.index(days[-3:]) + 1]
        for part in hours.split(","):
            begin, end = part.strip().split("-")
            over_midnight = end < begin
            if today in named and begin <= shows and (over_midnight or shows < end):
                return True
            if yesterday in named and over_midnight and shows < end:
                return True
    return False


def walk(window: SendWindow, zone: str, instant: datetime, end: datetime, *, wanted: bool) -> datetime | None:
    """The first instant, minute by minute, that is open or is not."""
    at, following = instant, instant.replace(second=0, microsecond=0) + MINUTE
    while oracle(window, zone, at) is not wanted:
        at, following = following, following + MINUTE
        if at > end:
            return None
    return at


CLOCKS = st.integers(0, 24 * 4 - 1).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")
SPANS = st.tuples(CLOCKS, st.one_of(CLOCKS, st.just("24:00"))).filter(lambda span: span[0] != span[1])
HOURS = st.lists(SPANS.map("-".join), min_size=1, max_size=2).map(", ".join)


@st.composite
def windows(draw: st.DrawFn) -> SendWindow:
    first = draw(st.integers(0, 6))
    length = draw(st.integers(0, 6))
    days = [NAMES[first] if length == 0 else f"{NAMES[first]}-{NAMES[(first + length) % 7]}"]
    if length < 6 and draw(st.booleans()):
        days.append(NAMES[(first + length + 1) % 7])
    return SendWindow(hours={day: draw(HOURS) for day in days})


INSTANTS = st.one_of(
    st.tuples(st.sampled_from(MOVES), st.integers(-36 * 60, 36 * 60)).map(lambda near: near[0] + near[1] * MINUTE),
    st.integers(0, 25 * 365 * 24 * 60).map(lambda minutes: datetime(2011, 1, 1, tzinfo=UTC) + minutes * MINUTE),
)


@settings(max_examples=50, deadline=None)
@given(windows(), st.sampled_from(ZONES), INSTANTS, st.sets(st.integers(-1, 4), max_size=3))
@example(SendWindow(hours={"mon-sun": "02:15-02:45"}), "Europe/Amsterdam", MOVES[0] - 40 * MINUTE, set())
@example(SendWindow(hours={"mon-sun": "02:15-02:45"}), "Europe/Amsterdam", MOVES[1] - 50 * MINUTE, set())
@example(SendWindow(hours={"sun": "00:00-00:30"}), "America/Sao_Paulo", MOVES[3] - 90 * MINUTE, set())
@example(SendWindow(hours={"sat": "23:15-23:45"}), "America/Sao_Paulo", MOVES[4] - 30 * MINUTE, set())
@example(SendWindow(hours={"fri": "22:00-02:00"}), "Pacific/Apia", MOVES[8] - 60 * MINUTE, set())
@example(SendWindow(hours={"mon-sun": "00:00-24:00"}), "UTC", MOVES[0], {1})
def test_a_window_opens_and_closes_when_a_clock_on_the_wall_says_so(
    window: SendWindow, zone: str, instant: datetime, off: set[int]
) -> None:
    holidays = tuple((instant.astimezone(ZoneInfo(zone)) + n * DAY).date() for n in sorted(off))
    window = window.model_copy(update={"holidays": holidays})
    its = ZoneInfo(zone)
    assert is_open(window, its, instant) is oracle(window, zone, instant)
    opens = opens_at(window, its, instant)
    assert opens == walk(window, zone, instant, opens, wanted=True)
    week = instant + 7 * DAY
    closes = closes_at(window, its, instant)
    assert closes == walk(window, zone, instant, closes or week, wanted=False)


@settings(max_examples=10, deadline=None)
@given(windows())
def test_the_longest_time_that_a_week_is_closed_is_what_a_walk_over_it_finds(window: SendWindow) -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    longest = closed = 0
    for quarter in range(2 * 7 * 24 * 4):  # the hours above begin and end at full quarters
        closed = 0 if oracle(window, "UTC", start + quarter * 15 * MINUTE) else closed + 1
        longest = max(longest, closed)
    assert longest_closed(window) == longest * 15 * MINUTE


def test_the_office_opens_by_the_candidates_clock() -> None:
    sunday = datetime(2026, 7, 5, 12, tzinfo=UTC)
    assert opens_at(OFFICE, OFFICE.clock("Europe/Amsterdam"), sunday) == datetime(2026, 7, 6, 7, tzinfo=UTC)
    assert opens_at(OFFICE, OFFICE.clock("America/Bogota"), sunday) == datetime(2026, 7, 6, 14, tzinfo=UTC)


def test_a_window_with_a_clock_of_its_own_ignores_the_candidates() -> None:
    fixed = OFFICE.model_copy(update={"zone": "America/Bogota"})
    assert fixed.clock("Europe/Amsterdam").key == "America/Bogota"


def test_a_holiday_is_closed_from_midnight_to_midnight_also_inside_hours_over_midnight() -> None:
    nights = SendWindow(hours={"mon-sun": "22:00-02:00"}, holidays=(date(2026, 5, 5),))
    assert closes_at(nights, AMSTERDAM, datetime(2026, 5, 4, 21, tzinfo=UTC)) == datetime(2026, 5, 4, 22, tzinfo=UTC)
    assert opens_at(nights, AMSTERDAM, datetime(2026, 5, 4, 22, tzinfo=UTC)) == datetime(2026, 5, 5, 22, tzinfo=UTC)


def test_a_year_of_holidays_ends() -> None:
    days = tuple(date(2026, 1, 1) + n * DAY for n in range(365))
    closed = SendWindow(hours={"mon-sun": "09:00-10:00"}, holidays=days)
    assert opens_at(closed, AMSTERDAM, datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2027, 1, 1, 8, tzinfo=UTC)


def test_what_is_always_open_never_closes() -> None:
    assert closes_at(SendWindow(hours={"mon-sun": "00:00-24:00"}), AMSTERDAM, MOVES[0]) is None


@pytest.mark.parametrize(
    "written",
    [
        {"hours": {}},
        {"hours": {"monday": "09:00-18:00"}},
        {"hours": {"mon": "9:00-18:00"}},
        {"hours": {"mon": "09:00-25:00"}},
        {"hours": {"mon": "24:00-09:00"}},
        {"hours": {"mon": "09:00-09:00"}},
        {"hours": {"mon": "09:00-12:00,"}},
        {"hours": {"mon-fri": "09:00-18:00", "fri": "09:00-12:00"}},
        {"hours": {"sat-mon": "09:00-18:00", "sun": "09:00-12:00"}},
        {"hours": {"mon": "09:00-18:00"}, "holidays": ["2026-02-30"]},
        {"hours": {"mon": "09:00-18:00"}, "zone": "Mars/Olympus"},
        {"hours": {"mon": "09:00-18:00"}, "days": "mon"},
    ],
)
def test_what_no_window_can_be_read_from_is_refused(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SendWindow.model_validate(written)


def test_a_window_is_written_and_read_back_the_same() -> None:
    window = SendWindow(hours={"mon-fri": "09:00-12:30, 14:00-18:00"}, holidays=(date(2026, 12, 25),), zone="UTC")
    assert SendWindow.model_validate_json(window.model_dump_json()) == window


def test_a_message_that_may_expire_before_the_window_opens_is_a_fault_of_the_plan() -> None:
    assert faults(OFFICE, timedelta(days=7)) == ()
    (text,) = faults(OFFICE, timedelta(days=2))
    assert "2d15h" in text
    assert faults(OFFICE, longest_closed(OFFICE)) != (), "it opens at the very instant of the expiry"
    assert faults(OFFICE, longest_closed(OFFICE) + MINUTE) == ()


def test_a_plan_tells_each_of_its_messages_that_may_expire_before_the_window_opens() -> None:
    template = {"name": "intake_v1", "language": "nl"}
    written: dict[str, Any] = {
        "name": "intake",
        "opening": {"template": template, "flow": {"id": "f"}, "expires": "1d"},
        "follow_ups": [{"after": "2d", "template": template, "expires": "12h"}, {"after": "2d", "template": template}],
        "silence": {"after": "2d"},
        "send_window": {"hours": {"mon-fri": "09:00-18:00"}},
    }
    with pytest.raises(ValidationError) as refused:
        Plan.model_validate(written)
    assert [name in str(refused.value) for name in ("opening.expires", "follow_ups.0.expires")] == [True, True]
    assert "follow_ups.1" not in str(refused.value)
    del written["opening"]["expires"], written["follow_ups"][0]["expires"]
    assert Plan.model_validate(written).send_window == OFFICE
