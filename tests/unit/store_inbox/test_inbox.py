"""Deliveries are kept, claimed by one gateway at a time, and read into events that are stored once."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import inspect, make_url, select

import store.inbox as inbox_module
from domain.errors import StoreUnavailable
from domain.retention import RetentionTerms
from store.inbox import Delivery, Inbox, Kept, ReadDelivery
from store.inbox_tables import EventState, inbox_deliveries, inbox_events, inbox_relays
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.gateway.world import PHONE, World, delivery, finished, now, number, wrote
from tests.unit.store_inbox.bench import Bench, pending


@pytest.fixture
def bench(world: World) -> Bench:
    return Bench(world)


async def test_deliveries_are_claimed_in_order_of_arrival_with_their_bytes(bench: Bench) -> None:
    kept = [Delivery("plain", "main", b"body %d" % n, bench.at) for n in range(3)]
    await bench.keep(*kept)
    assert [one.delivery for one in await bench.claim()] == kept


async def test_a_claimed_delivery_is_nobody_elses_until_the_lease_ends(bench: Bench) -> None:
    await bench.keep(delivery(finished("e-1")))
    (mine,) = await bench.claim()
    assert await bench.theirs.claim(["main"], 10) == ()
    bench.passes(seconds=16)
    assert await bench.theirs.claim(["main"], 10) == (mine,)


async def test_deliveries_of_accounts_that_are_not_received_for_are_left_alone(bench: Bench) -> None:
    await bench.keep(delivery(finished("e-1"), account="other"))
    assert await bench.claim() == ()


async def test_a_gateway_that_lost_its_lease_stores_nothing(bench: Bench) -> None:
    await bench.keep(delivery(finished("e-1")))
    (mine,) = await bench.claim()
    bench.passes(seconds=16)
    (theirs,) = await bench.theirs.claim(["main"], 10)
    assert await bench.mine.keep_events([bench.read(mine, finished("e-1"))]) == ()
    assert await bench.theirs.keep_events([bench.read(theirs, finished("e-1"))]) == (
        Kept("plain", "flow-run", "unmatched"),
    )


async def test_an_event_is_stored_once_however_often_it_is_told(bench: Bench) -> None:
    results = [kept.result for _ in range(3) for kept in await bench.placed(pending("w1"), finished("e-1"))]
    assert results == ["pending", "duplicate", "duplicate"]
    assert (await bench.review.counts()).events[EventState.PENDING] == 1


async def test_the_same_key_at_two_accounts_is_two_facts(bench: Bench) -> None:
    await bench.keep(delivery(finished("e-1")), delivery(finished("e-1"), account="other"))
    claimed = await bench.mine.claim(["main", "other"], 10)
    kept = await bench.mine.keep_events([bench.read(one, finished("e-1")) for one in claimed])
    assert [one.result for one in kept] == ["unmatched", "unmatched"]


async def test_reading_is_all_or_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.keep(delivery(finished("e-1")))
    (claimed,) = await bench.claim()

    def torn(*_: object) -> None:
        raise StoreUnavailable("the disk went away")

    read = [bench.read(claimed, finished("e-1"), placement=pending("w1"))]
    with monkeypatch.context() as patched:
        patched.setattr(inbox_module, "wanted_within", torn)
        with pytest.raises(StoreUnavailable):
            await bench.mine.keep_events(read)
    counts = await bench.review.counts()
    assert (counts.unread, sum(counts.events.values())) == (1, 0)
    assert [one.result for one in await bench.mine.keep_events(read)] == ["pending"]


async def test_the_raw_body_goes_when_its_events_are_stored(bench: Bench, stores: Stores) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    rows = await stores.database.read(
        lambda connection: connection.execute(select(inbox_deliveries.c.state, inbox_deliveries.c.body)).all()
    )
    assert [tuple(row) for row in rows] == [("parsed", None)]


async def test_a_quarantined_body_is_kept_once_with_its_reason(bench: Bench) -> None:
    for _ in range(2):
        await bench.keep(Delivery("plain", "main", b"\x00garbage", bench.at))
        (claimed,) = await bench.claim()
        await bench.mine.keep_events([ReadDelivery(claimed, quarantine="not JSON")])
    (kept,) = await bench.review.list(EventState.QUARANTINED)
    assert (kept.rule, kept.account) == ("not JSON", "main")


async def test_nothing_that_a_person_said_is_readable_in_the_store(bench: Bench, stores: Stores) -> None:
    said = wrote("pref:31612345678:stop", "I am Ada Lovelace", number(PHONE))
    await bench.placed(pending("w1"), said)
    await bench.keep(delivery(said))

    def everything(connection) -> str:  # type: ignore[no-untyped-def]  # any connection does
        tables = (inbox_deliveries, inbox_events, inbox_relays)
        return repr([list(map(tuple, connection.execute(select(table)))) for table in tables])

    stored = await stores.database.read(everything)
    for secret in ("Ada", PHONE[1:]):
        assert secret not in stored
        assert secret.encode().hex() not in stored


async def test_what_does_not_open_here_holds_up_nothing_else(bench: Bench, stores: Stores) -> None:
    stranger = Inbox(stores.database, KeyRing.generate(), clock=bench.clock)
    await stranger.keep([delivery(finished("sealed-elsewhere"))])
    await bench.keep(good := delivery(finished("e-1"), at=now()))
    assert [one.delivery for one in await bench.claim()] == [good]


async def test_the_migration_builds_exactly_the_tables_of_this_release(stores: Stores) -> None:
    def columns(connection) -> dict[str, set[tuple[str, bool]]]:  # type: ignore[no-untyped-def]  # any connection does
        seen = inspect(connection)
        return {
            table.name: {(column["name"], column["nullable"]) for column in seen.get_columns(table.name)}
            for table in (inbox_deliveries, inbox_events, inbox_relays)
        }

    def indexes(connection) -> dict[str, set[str]]:  # type: ignore[no-untyped-def]  # any connection does
        seen = inspect(connection)
        uniques = {"uq_inbox_events_account_key_digest"}
        return {
            table.name: {str(index["name"]) for index in seen.get_indexes(table.name)} - uniques
            for table in (inbox_deliveries, inbox_events, inbox_relays)
        }

    wanted = (inbox_deliveries, inbox_events, inbox_relays)
    assert await stores.database.read(columns) == {
        table.name: {(column.name, bool(column.nullable)) for column in table.columns} for table in wanted
    }
    assert await stores.database.read(indexes) == {
        table.name: {str(index.name) for index in table.indexes} for table in wanted
    }


def test_the_sqlite_file_itself_holds_no_words(sqlite_url: str, keys: KeyRing) -> None:
    async def fill() -> None:
        async with Stores.open(sqlite_url, keys) as opened:
            await Bench(World(opened)).placed(pending("w1"), wrote("m-1", "I am Ada Lovelace", number(PHONE)))

    asyncio.run(fill())
    file = Path(make_url(sqlite_url).database or "")
    for part in file.parent.glob(file.name + "*"):
        assert b"Ada Lovelace" not in part.read_bytes()


def test_event_keys_are_known_longer_than_any_provider_repeats() -> None:
    terms = RetentionTerms()
    assert min(terms.inbox, terms.unreadable) >= timedelta(days=8)
    for name in ("inbox", "unreadable"):
        with pytest.raises(ValidationError):
            RetentionTerms.model_validate({name: "7d"})
