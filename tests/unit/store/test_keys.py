"""Keyed hashes that never change, names that nobody can guess, and sealed bytes that only their keys open."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contacts import Alias, AliasKind, phone_alias
from domain.errors import SetupError
from store.keys import KeyRing

OLD, NEW, PEPPER = b"o" * 32, b"n" * 32, b"p" * 40


def test_a_whatsapp_id_finds_the_contact_that_was_made_by_phone() -> None:
    keys = KeyRing(OLD, PEPPER)
    by_phone = keys.alias_digest(phone_alias("+31612345678"))
    assert keys.alias_digest(Alias(kind=AliasKind.WA_ID, value="31612345678", scope="main")) == by_phone
    assert keys.alias_digest(Alias(kind=AliasKind.PHONE, value="+31612345678")) == by_phone
    assert keys.alias_digest(Alias(kind=AliasKind.THREAD, value="31612345678")) != by_phone
    assert len(by_phone) == 32


def test_an_account_s_own_ids_mean_something_within_the_account_only() -> None:
    keys = KeyRing(OLD, PEPPER)
    one, other = (keys.alias_digest(Alias(kind=AliasKind.THREAD, value="t", scope=scope)) for scope in ("a", "b"))
    assert one != other


def test_parts_cannot_be_shifted_into_each_other() -> None:
    keys = KeyRing(OLD, PEPPER)
    assert keys.alias_digest(Alias(kind=AliasKind.BSUID, scope="ab", value="c")) != keys.alias_digest(
        Alias(kind=AliasKind.BSUID, scope="a", value="bc")
    )


def test_names_and_hashes_are_pinned_because_stored_rows_depend_on_them() -> None:
    keys = KeyRing(bytes(32), bytes(range(32)))
    names = keys.send_names("engagement:acme:a-1/opening/1")
    assert (names.reference, names.flow_token) == ("att_qndcynfcy6olgkcmkh3epraxrt", "ft_4max27wxfiwe5yadicqzvy2jdc")
    assert (
        keys.alias_digest(phone_alias("+31612345678")).hex()
        == "be082581559dc47ea4d47dafc919133b3e6ad41fac69eff4ee970e8199a211db"
    )
    assert keys.fingerprint("text") == "c8c848489e03e83c60a28bd54d98579106c51df05f2fe9c4b2878c4ab38b36cb"


def test_names_of_a_send_fit_every_provider_and_differ_from_each_other() -> None:
    names = KeyRing(OLD, PEPPER).send_names("k")
    assert re.fullmatch(r"att_[a-z2-7]{26}", names.reference)
    assert re.fullmatch(r"ft_[a-z2-7]{26}", names.flow_token)
    assert names.reference[4:] != names.flow_token[3:]


def test_what_is_looked_up_by_hash_outlives_a_rotation_of_the_master_key() -> None:
    before, after = KeyRing(OLD, PEPPER), KeyRing(NEW, PEPPER)
    assert before.send_names("k") == after.send_names("k")
    assert before.fingerprint("t") == after.fingerprint("t")
    assert before.alias_digest(phone_alias("+31612345678")) == after.alias_digest(phone_alias("+31612345678"))
    foreign = KeyRing(OLD, b"q" * 40)
    assert foreign.send_names("k") != before.send_names("k")


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_was_sealed_opens_again_and_never_looks_the_same_twice(data: bytes, purpose: str) -> None:
    keys = KeyRing(OLD, PEPPER)
    sealed = keys.seal(data, purpose)
    assert keys.open(sealed, purpose) == data
    assert keys.seal(data, purpose) != sealed


def test_sealed_bytes_open_for_their_purpose_only() -> None:
    keys = KeyRing(OLD, PEPPER)
    with pytest.raises(SetupError):
        keys.open(keys.seal(b"data", "archive"), "input")


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_altered_byte_is_noticed(place: int, change: int) -> None:
    keys = KeyRing(OLD, PEPPER)
    sealed = bytearray(keys.seal(b"some data", "archive"))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(SetupError):
        keys.open(bytes(sealed), "archive")


@given(st.integers(min_value=0, max_value=40))
def test_a_torn_blob_is_noticed(length: int) -> None:
    keys = KeyRing(OLD, PEPPER)
    with pytest.raises(SetupError):
        keys.open(keys.seal(b"some data", "archive")[:length], "archive")


def test_during_a_rotation_the_new_key_seals_and_both_open() -> None:
    old, new = KeyRing(OLD, PEPPER), KeyRing(NEW, PEPPER)
    both = KeyRing(masters={"2025": OLD, "2026": NEW}, current="2026", pepper=PEPPER)
    assert both.open(old.seal(b"data", "archive"), "archive") == b"data"
    assert new.open(both.seal(b"data", "archive"), "archive") == b"data"
    assert both.current_id == new.current_id
    with pytest.raises(SetupError, match=new.current_id):
        old.open(both.seal(b"data", "archive"), "archive")


def test_every_mistake_in_the_keys_is_told_at_once_and_no_key_is_shown() -> None:
    with pytest.raises(SetupError) as raised:
        KeyRing(masters={"a": b"short-secret"}, current="b", pepper=b"pepper-secret")
    assert "secret" not in str(raised.value)
    assert str(raised.value).count(";") == 2


def test_a_key_ring_shows_no_key() -> None:
    shown = repr(KeyRing(OLD, PEPPER)) + str(KeyRing(OLD, PEPPER))
    assert "oooo" not in shown
    assert "pppp" not in shown


def test_generated_keys_differ() -> None:
    assert KeyRing.generate().current_id != KeyRing.generate().current_id
