"""After a rotation everything that the store seals opens under the new master key alone."""

import pytest
from sqlalchemy import Connection, LargeBinary, insert, select

from domain.errors import SetupError
from store.inbox_tables import inbox_deliveries, purpose_of
from store.keys import KeyRing
from store.registry import EngagementRegistry
from store.resealing import PLACES, Resealing
from store.stores import Stores
from store.tables import engagements, keys, metadata
from tests.unit.store.samples import NOON, a_close, a_row, an_engagement

PEPPER = bytes(range(32))
OLD, NEW = KeyRing(b"o" * 32, PEPPER), KeyRing(b"n" * 32, PEPPER)
BOTH = KeyRing(masters={"old": b"o" * 32, "new": b"n" * 32}, current="new", pepper=PEPPER)

HASHES = {"contact_aliases.digest", "suppressions.digest"}
"""Bytes that no key sealed."""


def test_every_column_of_bytes_is_sealed_again_or_a_hash() -> None:
    found = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    assert found == {place.name for place in PLACES} | HASHES | {f"keys.{keys.c.wrapped.name}"}


def keep_a_delivery(connection: Connection) -> None:
    values = {"provider": "meta", "account": "main", "state": "stored", "received_at": NOON}
    sealed = OLD.seal(b"a body", purpose_of(NOON))
    connection.execute(insert(inbox_deliveries).values(**values, body=sealed))


async def test_rows_of_every_kind_move_to_the_new_master_key_in_steps(stores: Stores) -> None:
    old = EngagementRegistry(stores.database, OLD)
    for n in range(3):
        await old.register(a_row("ct", reference=f"a-{n}"), an_engagement("ct"))
    await old.close(a_close("ct", reference="a-1"))
    await stores.database.write(keep_a_delivery)
    moving = Resealing(stores.database, BOTH)
    before = await moving.counts()
    assert before["engagements.input"] == {OLD.current_id: 3}

    (inputs,) = [place for place in PLACES if place.name == "engagements.input"]
    assert [await moving.reseal(inputs, limit=2) for _ in range(3)] == [2, 1, 0]
    for place in PLACES:
        while await moving.reseal(place):
            pass

    counts = await moving.counts()
    assert {master for held in counts.values() for master in held} == {NEW.current_id}
    new = EngagementRegistry(stores.database, NEW)
    assert await new.input_of("engagement:acme:a-0") == an_engagement("ct")
    assert await new.archive_of("acme", "a-1") is not None
    body = await stores.database.read(lambda c: c.execute(select(inbox_deliveries.c.body)).scalar_one())
    assert NEW.open(body, purpose_of(NOON)) == b"a body"


async def test_a_rotation_without_the_former_key_changes_nothing_and_says_which_key_it_lacks(stores: Stores) -> None:
    await EngagementRegistry(stores.database, OLD).register(a_row("ct"), an_engagement("ct"))
    (inputs,) = [place for place in PLACES if place.name == "engagements.input"]

    with pytest.raises(SetupError, match=OLD.current_id):
        await Resealing(stores.database, NEW).reseal(inputs)
    sealed = await stores.database.read(lambda c: c.execute(select(engagements.c.input)).scalar_one())
    assert OLD.open(sealed, "engagement-input")
