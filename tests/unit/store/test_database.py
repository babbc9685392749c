"""Transactions, their durability, and which failures mean that the store did not answer."""

import asyncio
import sqlite3
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Connection, exc, insert, select, text

from domain.errors import SetupError, StoreUnavailable
from store import database as module
from store.database import Database, insert_new
from store.host import HostIdentity
from store.migrate import upgrade
from store.tables import contacts, engagements, store_host
from tests.unit.store.samples import NOON, a_row

HERE = HostIdentity(machine="here", hostname="alpha")
THERE = HostIdentity(machine="there", hostname="beta")


def _add(contact_id: str, at: datetime = NOON) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute(insert(contacts).values(id=contact_id, created_at=at))

    return work


def _ids(connection: Connection) -> list[str]:
    return list(connection.execute(select(contacts.c.id).order_by(contacts.c.id)).scalars())


async def test_what_a_write_returns_is_committed_and_what_it_raises_undoes_it(url: str) -> None:
    database = await Database.open(url)

    def fail(connection: Connection) -> None:
        _add("lost")(connection)
        raise LookupError

    await database.write(_add("kept"))
    with pytest.raises(LookupError):
        await database.write(fail)
    assert await database.read(_ids) == ["kept"]
    await database.close()


async def test_a_row_that_meets_another_in_any_unique_column_is_not_inserted_and_nothing_raises(url: str) -> None:
    """Two transactions at once may meet first in a unique column that is not the key."""
    database = await Database.open(url)
    row = a_row("ct").model_dump()

    def insert_both(connection: Connection) -> tuple[bool, bool, bool]:
        return (
            insert_new(connection, engagements, row, key=["tenant", "reference"]),
            insert_new(connection, engagements, row, key=["tenant", "reference"]),
            insert_new(connection, engagements, row | {"reference": "a-2"}, key=["tenant", "reference"]),
        )

    assert await database.write(insert_both) == (True, False, False)
    await database.close()


async def test_a_read_cannot_write(url: str) -> None:
    database = await Database.open(url)
    with pytest.raises((StoreUnavailable, exc.DBAPIError)):
        await database.read(_add("sneaked in"))
    assert await database.read(_ids) == []
    await database.close()


async def test_a_commit_outlives_the_process_and_the_power(url: str) -> None:
    database = await Database.open(url)
    if not url.startswith("sqlite"):
        wanted = await database.read(lambda c: c.execute(text("SHOW synchronous_commit")).scalar_one())
        assert wanted == "on"
    else:
        for lane in (database.write, database.read):
            assert await lane(lambda c: c.execute(text("PRAGMA synchronous")).scalar_one()) == 2  # FULL
            assert await lane(lambda c: c.execute(text("PRAGMA journal_mode")).scalar_one()) == "wal"
            assert await lane(lambda c: c.execute(text("PRAGMA foreign_keys")).scalar_one()) == 1
    await database.close()


async def test_instants_come_back_aware_and_in_utc_and_naive_ones_are_refused(url: str) -> None:
    database = await Database.open(url)
    amsterdam = NOON.astimezone(timezone(timedelta(hours=1)))
    await database.write(_add("c", amsterdam))
    kept = await database.read(lambda c: c.execute(select(contacts.c.created_at)).scalar_one())
    assert (kept, kept.tzinfo) == (NOON, UTC)
    with pytest.raises(exc.StatementError, match="naive"):
        await database.write(_add("d", datetime(2026, 3, 2, 12)))  # noqa: DTZ001 - the point of the test
    await database.close()


async def test_the_event_loop_goes_on_while_a_transaction_waits(url: str) -> None:
    database = await Database.open(url)
    proceed = threading.Event()
    waiting = asyncio.create_task(database.write(lambda _: proceed.wait(30)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert await database.read(_ids) == []  # readers do not wait for the writer
    proceed.set()
    assert await waiting
    await database.close()


async def test_a_defect_of_ours_is_not_taken_for_an_outage(url: str) -> None:
    database = await Database.open(url)
    with pytest.raises(exc.DBAPIError):
        await database.write(lambda c: c.execute(text("SELECT * FROM no_such_table")))
    await database.write(_add("c"))
    with pytest.raises(exc.IntegrityError):
        await database.write(_add("c"))
    await database.close()


async def test_the_text_of_a_defect_repeats_nothing_of_a_row(url: str) -> None:
    """What seals for Temporal reads and writes keys, and Temporal keeps the text of an error of it as it is."""
    database = await Database.open(url)
    await database.write(_add("ct_marker"))
    with pytest.raises(exc.IntegrityError) as caught:
        await database.write(_add("ct_marker"))
    assert "parameters hidden" in str(caught.value)
    await database.close()


async def test_a_closed_store_does_not_answer(url: str) -> None:
    database = await Database.open(url)
    await database.close()
    await database.close()
    with pytest.raises(StoreUnavailable):
        await database.read(_ids)


async def test_a_locked_file_is_an_outage_and_passes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    database = await Database.open(f"sqlite:///{file}")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await database.write(_add("c"))
    assert await database.read(_ids) == []
    other.execute("ROLLBACK")
    other.close()
    await database.write(_add("c"))
    await database.close()


async def test_a_full_disk_is_an_outage(file: Path) -> None:
    database = await Database.open(f"sqlite:///{file}")
    pages = await database.read(lambda c: c.execute(text("PRAGMA page_count")).scalar_one())
    await database.write(lambda c: c.execute(text(f"PRAGMA max_page_count = {pages}")).scalar_one())
    with pytest.raises(StoreUnavailable, match="space"):
        await database.write(
            lambda c: c.execute(
                insert(store_host).values(one=1, machine="m", hostname="h" * 100_000).prefix_with("OR REPLACE")
            )
        )
    await database.close()


async def test_a_connection_that_the_server_cut_is_an_outage_and_the_next_transaction_works(
    server: str,
) -> None:
    database = await Database.open(server)
    other = await Database.open(server)

    def cut(connection: Connection) -> None:
        mine = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        future = asyncio.run_coroutine_threadsafe(
            other.write(lambda c: c.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": mine}).one()), loop
        )
        future.result(30)
        connection.execute(text("SELECT 1"))

    loop = asyncio.get_running_loop()
    with pytest.raises(StoreUnavailable):
        await database.write(cut)
    await database.ready()
    await database.close()
    await other.close()


async def test_nobody_listening_is_an_outage_that_shows_no_password() -> None:
    url = "postgresql+psycopg://rapport:hunter2@127.0.0.1:1/rapport"
    with pytest.raises(StoreUnavailable) as raised:
        await Database.open(url)
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://u:hunter2@host/db",
        "hunter2",
        "sqlite:////no/such/folder/s.sqlite3",
    ],
)
async def test_a_url_that_cannot_be_served_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SetupError) as raised:
        await Database.open(url)
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


async def test_a_second_host_on_one_file_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    upgrade(url, host=HERE)
    await (await Database.open(url, host=HERE)).close()
    with pytest.raises(SetupError, match=r"alpha.*beta.*PostgreSQL"):
        await Database.open(url, host=THERE)
    with pytest.raises(SetupError, match="alpha"):
        upgrade(url, host=THERE)
    with sqlite3.connect(tmp_path / "store.sqlite3") as by_hand:
        by_hand.execute("DELETE FROM store_host")
    by_hand.close()
    await (await Database.open(url, host=THERE)).close()
