"""Reading providers' JSON: tolerant, and never handing on what breaks those who read it later."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire import (
    MAX_DEPTH,
    Read,
    Unreadable,
    as_instant,
    mask_numbers,
    plain_code,
    plain_word,
    read_json,
    stable_key,
)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff", "not UTF-8"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"NaN", "not JSON"),
        (b"[-Infinity]", "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested too deep"),
    ],
)
def test_bytes_that_cannot_be_used_say_why(body: bytes, why: str) -> None:
    assert read_json(body) == Unreadable(why)


def test_half_a_character_is_replaced_so_that_the_text_can_be_written_again() -> None:
    assert read_json(rb'{"a\ud800":"\udfff"}') == Read({"a\ufffd": "\ufffd"})


def test_a_number_beyond_all_floats_is_kept_as_text() -> None:
    assert read_json(b"[1e999]") == Read(["1e999"])


@given(st.binary())
def test_no_bytes_make_reading_raise(body: bytes) -> None:
    read = read_json(body)

    if isinstance(read, Read):
        json.dumps(read.value, allow_nan=False).encode()


@pytest.mark.parametrize("text", ["", "soon", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-13-01"])
def test_what_is_no_instant_is_none(text: str) -> None:
    assert as_instant(text) is None


def test_an_instant_without_offset_is_utc() -> None:
    assert as_instant("2026-03-02T09:00:00") == as_instant("2026-03-02T10:00:00+01:00")


@given(st.text())
def test_a_key_is_always_short_plain_and_the_same_for_the_same_parts(text: str) -> None:
    key = stable_key("messages", text)

    assert key == stable_key("messages", text)
    assert len(key) <= 200
    assert key.isascii()
    assert key.isprintable()


@pytest.mark.parametrize("number", ["31600000001", "+31600000001", "+31 6 0000 0001", "06-00.00(00)01"])
def test_a_phone_number_in_a_providers_words_is_masked(number: str) -> None:
    assert mask_numbers(f"to {number} failed") == "to … failed"


@pytest.mark.parametrize(
    "number",
    [
        "31600000001",
        "+57 314 000 0001",
        "+57_314_000_0001",
        "(57) 314,000,0001",
        "57\u00a0314\u2013000\u20130001",
        "+57 / 314 0001",
    ],
)
def test_a_phone_number_in_a_providers_word_is_masked_however_it_is_spaced(number: str) -> None:
    word = plain_word(f"gone {number} again")

    assert not re.search(r"\d", word)
    assert word.startswith("gone_")
    assert word.endswith("_again")


def test_a_providers_word_keeps_its_letters_and_a_few_digits() -> None:
    assert plain_word("wa_flow v3.1 status/12345") == "wa_flow_v3.1_status/12345"
    assert len(plain_word("x" * 200)) == 40


@given(st.text(alphabet="0123456789 +-()_/.,ab\u00a0"))
def test_no_word_has_digits_that_could_be_a_number(text: str) -> None:
    assert not re.search(r"\d(?:[^A-Za-z0-9…]*\d){5,}", plain_word(text))


def test_a_code_keeps_its_seven_digits_and_a_phone_number_its_secret() -> None:
    assert plain_code("100/2388024") == "100/2388024"
    assert plain_code("31600000001") == "…"
    assert plain_code("131026_31-600.000_001") == "…"
    assert plain_code("31 600 000 001") == ""


@pytest.mark.parametrize("text", ["Ada Lovelace", "ada@mail.example", "Adá", "a" * 41, ""])
def test_what_is_more_than_one_short_word_is_no_code(text: str) -> None:
    assert plain_code(text) == ""
