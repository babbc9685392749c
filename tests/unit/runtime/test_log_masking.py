"""No phone number and no credential gets through the log pipeline."""

import phonenumbers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from runtime.log_masking import MASK, REDACTED, mask, mask_event

FORMATS = (
    phonenumbers.PhoneNumberFormat.E164,
    phonenumbers.PhoneNumberFormat.INTERNATIONAL,
    phonenumbers.PhoneNumberFormat.NATIONAL,
    phonenumbers.PhoneNumberFormat.RFC3966,
)


@st.composite
def phones(draw: st.DrawFn) -> str:
    """A valid mobile number of a country where we may write, as somebody may spell it."""
    region = draw(st.sampled_from(["CO", "MX", "BR", "AR", "CL", "PE", "ES", "US", "DE", "GB", "IN"]))
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    national = str(example.national_number)
    tail = draw(st.integers(min_value=0, max_value=99_999))
    number = phonenumbers.PhoneNumber(
        country_code=example.country_code, national_number=int(national[:-5] + f"{tail:05d}")
    )
    spelt = phonenumbers.format_number(number, draw(st.sampled_from(FORMATS)))
    return draw(st.sampled_from([spelt, spelt.removeprefix("+"), spelt.replace(" ", ""), spelt.replace("-", ".")]))


def digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


@given(
    phones(),
    st.sampled_from(["", "to ", "tel:", "number=", '"', "(", "candidate_", "\n"]),
    st.sampled_from(["", " failed", ",", '"', ")", ": no", "\n"]),
)
def test_a_phone_number_in_a_text_is_masked_however_it_is_spelt(phone: str, before: str, after: str) -> None:
    masked = mask(before + phone + after)

    assert MASK in masked
    assert len(digits(masked)) <= 4, masked


@given(phones())
def test_a_phone_number_is_masked_wherever_it_stands_in_an_event(phone: str) -> None:
    event = mask_event(
        None,
        "info",
        {"event": f"sent {phone}", "detail": {"inner": [phone, (phone,)], phone: 1}, "error": ValueError(phone)},
    )

    assert digits(phone) not in digits(repr(event))
    assert phone not in repr(event)


@given(st.text())
def test_masking_is_done_after_one_time(text: str) -> None:
    assert mask(mask(text)) == mask(text)


@given(st.integers(min_value=10_000_000, max_value=999_999_999_999_999))
def test_a_phone_number_as_a_whole_number_is_masked(number: int) -> None:
    assert mask_event(None, "info", {"value": number, "values": [number]}) == {"value": MASK, "values": [MASK]}


@given(st.uuids(), st.datetimes(), st.ip_addresses(v=4), st.integers(min_value=0, max_value=999_999))
def test_what_helps_an_operator_stays(run: object, instant: object, address: object, count: int) -> None:
    assume("0000-00-00" not in str(instant))
    text = f"run {run} at 2026-11-21T06:48:35.119Z on {address}:7233 took {count} ms on 2026-11-21"

    assert mask(text) == text


@pytest.mark.parametrize(
    "key", ["token", "api_key", "Authorization", "webhook_secret", "flow_token", "phone", "address"]
)
def test_a_value_is_redacted_by_the_name_of_its_field(key: str) -> None:
    assert mask_event(None, "info", {key: "hunter2", "inner": {key: "hunter2"}}) == {
        key: REDACTED,
        "inner": {key: REDACTED},
    }


def test_a_bearer_token_in_a_text_is_redacted() -> None:
    assert (
        mask("sent Authorization: Bearer abc.DEF-123= and went on")
        == f"sent Authorization: Bearer {REDACTED} and went on"
    )


def test_our_own_ids_keep_their_digits() -> None:
    ours = {"workflow_id": "engagement:acme:20261234567", "run_id": "0199", "timestamp": "2026-11-21T06:48:35Z"}

    assert mask_event(None, "info", dict(ours)) == ours


def test_things_that_may_hold_a_person_are_only_named() -> None:
    class Candidate(BaseModel):
        name: str

    event = mask_event(None, "info", {"who": Candidate(name="Ana"), "raw": b"Ana", "secret_thing": SecretStr("Ana")})

    assert event["who"] == "<Candidate>"
    assert "Ana" not in repr(event)


def test_plain_values_stay() -> None:
    plain = {"event": "send_done", "count": 3, "ok": True, "ratio": 0.5, "nothing": None, "names": ["a", "b"]}

    assert mask_event(None, "info", dict(plain)) == plain
