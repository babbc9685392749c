"""Rules of the Truora folder without a wire: splitting numbers, telling messages, and making an account ready."""

import re
from datetime import timedelta

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from domain.errors import SetupError
from domain.model import JsonValue
from domain.topology import Account, Line, Tenant, Topology
from providers.plain_words import plain_words
from providers.registry import build_accounts, build_readers, provider_kind
from providers.truora.client import TruoraClient
from providers.truora.kind import KIND, build_outbounds
from providers.truora.mapping import digits_of
from providers.truora.sending import split_number
from providers.truora.settings import CountryCodeFormat, TruoraSettings

NUMBERS = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)


@given(NUMBERS, st.sampled_from([CountryCodeFormat.PLUS_AND_DIGITS, CountryCodeFormat.DIGITS]))
def test_a_split_number_is_the_number_again_or_refused(number: str, how: CountryCodeFormat) -> None:
    split = split_number(number, how)
    if split is not None:
        code, rest = split
        assert f"+{code.removeprefix('+')}{rest}" == number
        assert int(code.removeprefix("+")) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE
        assert code.startswith("+") is (how is CountryCodeFormat.PLUS_AND_DIGITS)
    else:
        assert not any(number[1:].startswith(str(code)) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


@given(NUMBERS)
def test_a_region_is_two_letters_or_a_code_of_no_country_or_refused(number: str) -> None:
    split = split_number(number, CountryCodeFormat.REGION)
    assert split is None or re.fullmatch(r"[A-Z]{2}|001", split[0])


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("flow_id is required", "flow_id is required"),
        ("The Outbound was not found", "The Outbound was not found"),
        ("Too many requests", "Too many requests"),
        ("phone_number 3140000001 of Ada Lovelace is invalid", "phone_number … of … is invalid"),
        ("var.lastname: missing", "var.lastname: missing"),
        ("Ada Lovelace", ""),
        ("", ""),
    ],
)
def test_only_words_that_are_nobodys_are_told(message: str, told: str) -> None:
    assert plain_words(message) == told


@given(st.text())
def test_no_digits_of_a_message_are_told(message: str) -> None:
    assert not re.search(r"\d", re.sub(r"var\.\w+", "", plain_words(message)))


@given(st.text(max_size=20))
def test_digits_are_told_of_a_whole_number_only(text: str) -> None:
    assert re.fullmatch(r"[1-9][0-9]{6,14}|", digits_of(text))


SECRETS = {"env:KEY": "api-key", "env:HOOK": "hook-signing-key", "env:EMPTY": ""}


def resolve(ref: str) -> SecretStr:
    return SecretStr(SECRETS[ref])


def account(**changes: JsonValue) -> Account:
    written: dict[str, JsonValue] = {
        "slug": "acme",
        "provider": "truora",
        "credential": "env:KEY",
        "webhook_secrets": ["env:HOOK"],
    }
    return Account.model_validate(written | changes)


def topology(one: Account, *senders: str) -> Topology:
    lines = tuple(
        Line(slug=f"line-{n}", account="acme", tenants=("acme",), sender=sender) for n, sender in enumerate(senders)
    )
    return Topology(tenants=(Tenant(slug="acme"),), accounts=(one,), lines=lines)


async def test_an_account_is_made_ready_with_its_lines() -> None:
    options: dict[str, JsonValue] = {"process_url": "https://api.identity.truora.com/v1", "send_reference": True}
    accounts = build_accounts(topology(account(options=options), "15550100000"), resolve)
    client = accounts.provider("acme")

    assert isinstance(client, TruoraClient)
    assert client.capabilities == provider_kind("truora").capabilities
    await accounts.close()
    await build_outbounds(account(), SecretStr("api-key")).close()


def test_every_line_without_a_usable_number_is_told_and_no_number_shown() -> None:
    with pytest.raises(SetupError) as caught:
        build_accounts(topology(account(), "15550100000", "", "+15550100001", "1555 0100002"), resolve)

    text = str(caught.value)
    assert [f"line-{n}" for n in range(4) if f"line line-{n}:" in text] == ["line-1", "line-2", "line-3"]
    assert "sender" in text
    assert "15550" not in text


def test_a_receiver_is_made_ready_with_its_keys_and_not_without() -> None:
    readers = build_readers(topology(account(), "15550100000"), resolve)

    assert readers["acme"].handshake({}) is None
    with pytest.raises(SetupError, match="webhook_secrets"):
        build_readers(topology(account(webhook_secrets=["env:EMPTY"]), "15550100000"), resolve)


def test_events_are_waited_for_longer_only_where_they_can_name_a_lost_send() -> None:
    assert KIND.reconcile_wait(account()) is None
    assert KIND.reconcile_wait(account(options={"send_reference": True})) == timedelta(minutes=15)
    assert KIND.reconcile_wait(account(options={"send_reference": True, "reconcile_wait": "1h"})) == timedelta(hours=1)


@pytest.mark.parametrize(
    "options",
    [
        {"country_code": "0057"},
        {"event_words": {"whatsapp_process": {"succeeded": "won"}}},
        {"members": {"session_id": []}},
        {"members": {"sessionid": ["x"]}},
        {"status_words": {"approved": "FINE"}},
        {"base_url": "ftp://x"},
        {"process_url": "x"},
        {"reconcile_wait": "0s"},
        {"no_such_option": 1},
    ],
)
def test_an_option_that_means_nothing_is_refused(options: dict[str, JsonValue]) -> None:
    with pytest.raises(ValidationError):
        TruoraSettings.model_validate(options)
