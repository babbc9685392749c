"""What is found by what it holds and read by nobody: sealed alike for equal texts, and open with the keys alone."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Text, select, text, type_coerce, update

from domain.contacts import Alias, AliasKind, Consent, OptOut, OptOutScope
from domain.errors import SetupError
from store.keys import KeyRing
from store.master_keys import require_master_keys
from store.stores import Stores
from store.tables import consents, sends
from tests.unit.store.samples import PHONE

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAID = "told Ada Lovelace on the phone"


async def a_consent(stores: Stores, said: str = SAID) -> str:
    contact_id = await stores.contacts.resolve([Alias(kind=AliasKind.PHONE, value=PHONE[1:])])
    await stores.contacts.record_consent(contact_id, "acme", Consent(source=said, obtained_at=NOON))
    return contact_id


def as_it_lies(connection: Connection) -> list[str]:
    return list(connection.execute(select(type_coerce(consents.c.source, Text))).scalars())


async def test_evidence_lies_sealed_and_is_read_as_it_was_written(stores: Stores) -> None:
    contact_id = await a_consent(stores)
    (lying,) = await stores.database.read(as_it_lies)
    assert "Ada" not in lying
    assert [one.source for one in (await stores.contacts.record(contact_id)).consents] == [SAID]


async def test_the_same_evidence_twice_is_one(stores: Stores) -> None:
    await a_consent(stores)
    await a_consent(stores)
    await a_consent(stores, SAID + ", twice")
    assert len(await stores.database.read(as_it_lies)) == 2


async def test_what_an_earlier_release_wrote_is_read_as_it_is(stores: Stores) -> None:
    contact_id = await a_consent(stores)
    await stores.database.write(lambda c: c.execute(text("UPDATE consents SET source = 'careers page'")))
    assert [one.source for one in (await stores.contacts.record(contact_id)).consents] == ["careers page"]


async def test_a_text_that_looks_sealed_comes_back_as_it_was_given(stores: Stores) -> None:
    contact_id = await a_consent(stores, "sealed:1:AAAA")
    opt_out = OptOut(scope=OptOutScope.ALL, source="sealed:1:", at=NOON)
    await stores.contacts.opt_out(contact_id, opt_out)
    record = await stores.contacts.record(contact_id)
    assert [one.source for one in record.consents] == ["sealed:1:AAAA"]


async def test_another_pepper_opens_nothing_and_says_so(stores: Stores, url: str) -> None:
    contact_id = await a_consent(stores)
    async with Stores.open(url, KeyRing.generate()) as others:
        with pytest.raises(SetupError, match="pepper"):
            await others.contacts.record(contact_id)


async def test_a_process_with_another_pepper_is_told_before_it_begins(stores: Stores, keys: KeyRing) -> None:
    """It would recognise nobody, and so write to people who opted out."""
    others = KeyRing(bytes(32), bytes([7]) * 32)
    await require_master_keys(stores.database, others)  # nobody is known yet
    await a_consent(stores)
    with pytest.raises(SetupError, match="RAPPORT_KEYS__PEPPER"):
        await require_master_keys(stores.database, others)
    await require_master_keys(stores.database, keys)


async def test_one_altered_text_keeps_no_process_from_beginning(stores: Stores, keys: KeyRing) -> None:
    await a_consent(stores)
    await a_consent(stores, SAID + ", twice")
    await stores.database.write(lambda c: c.execute(text("UPDATE consents SET source = 'sealed:1:AAAA' WHERE id > 1")))
    await require_master_keys(stores.database, keys)


async def test_nothing_stays_nothing(stores: Stores) -> None:
    nothing = update(sends).values(message_id="")
    await stores.database.write(lambda connection: connection.execute(nothing))
    assert (
        await stores.database.read(lambda c: c.execute(select(sends.c.key).where(sends.c.message_id != "")).all()) == []
    )
