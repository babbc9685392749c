"""How long an answer asks us to wait: every form, and nothing that could raise or park us for long."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.endings import LONGEST_RETRY_AFTER, retry_after

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        ("30", timedelta(seconds=30)),
        (" 30 ", timedelta(seconds=30)),
        ("0", timedelta(0)),
        ("1.5", timedelta(seconds=1.5)),
        ("Mon, 02 Mar 2026 09:02:00 GMT", timedelta(minutes=2)),
        ("Monday, 02-Mar-26 09:02:00 GMT", timedelta(minutes=2)),
        ("Mon Mar  2 09:02:00 2026", timedelta(minutes=2)),
        ("Mon, 02 Mar 2026 10:02:00 +0100", timedelta(minutes=2)),
        ("86400", LONGEST_RETRY_AFTER),
        ("9" * 5000, LONGEST_RETRY_AFTER),
        ("Tue, 03 Mar 2026 09:00:00 GMT", LONGEST_RETRY_AFTER),
    ],
)
def test_every_form_of_a_wait_is_understood_and_capped(asked: str, wait: timedelta) -> None:
    assert retry_after({"Retry-After": asked}, NOW) == wait


@pytest.mark.parametrize(
    "asked", ["", "-5", "soon", "nan", "inf", "1e3", "٣٠", "Mon, 02 Mar 2026 08:59:59 GMT", "Mon, 99 Foo 2026"]
)
def test_what_is_negative_past_or_unreadable_is_no_wait(asked: str) -> None:
    assert retry_after({"retry-after": asked}, NOW) is None


def test_no_header_is_no_wait() -> None:
    assert retry_after({}, NOW) is None


def test_a_date_is_measured_against_the_answers_own_clock() -> None:
    headers = {"Date": "Mon, 02 Mar 2026 05:00:00 GMT", "Retry-After": "Mon, 02 Mar 2026 05:00:10 GMT"}

    assert retry_after(headers, NOW) == timedelta(seconds=10)


@given(st.one_of(st.text(), st.from_regex(r"[A-Za-z]{3}, \d{1,2} [A-Za-z]{3} \d{1,6} \d\d:\d\d:\d\d.{0,8}")), st.text())
def test_no_text_makes_it_raise_or_wait_longer_than_the_cap(asked: str, date: str) -> None:
    wait = retry_after({"retry-after": asked, "date": date})

    assert wait is None or timedelta(0) <= wait <= LONGEST_RETRY_AFTER
