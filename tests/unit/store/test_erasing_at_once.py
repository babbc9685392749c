"""Erasing a person while others are at work: sends in hand, a second eraser, readers of PostgreSQL's old rows."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import structlog
from psycopg import sql
from sqlalchemy import make_url, select

from domain.contacts import phone_alias
from domain.errors import PolicyRefused, StoreUnavailable
from domain.sends import LedgerState, SendFailure, SendReceipt
from store import database, traces
from store.candidate_keys import destroy_within
from store.erasure_columns import EMPTIED
from store.inbox_tables import EventState, inbox_events
from store.keys import KeyRing
from store.stores import Stores
from store.tables import keys as keys_table
from store.tables import sends
from tests.databases import Lending
from tests.postgres import conninfo
from tests.unit.gateway.world import World, finished
from tests.unit.store.samples import NOON, PHONE, a_row, a_send, an_engagement
from tests.unit.store.test_ats import a_notice
from tests.unit.store.test_erasure import COMMAND, MARKERS, a_person, erased
from tests.unit.store_inbox.bench import UNMATCHED, Bench, pending


async def erased_at_last(stores: Stores, contact_id: str) -> Mapping[str, int]:
    """Asked again where the other one held it up for too long, as whoever erases is told to."""
    while True:
        try:
            return await stores.erasures.erase(contact_id, NOON)
        except StoreUnavailable:
            continue


async def test_two_who_erase_at_once_do_it_once(stores: Stores, url: str, keys: KeyRing) -> None:
    contact_id = await a_person(stores)
    await stores.erasures.mark(contact_id, *COMMAND, NOON)
    async with Stores.open(url, keys) as elsewhere:
        counts = await asyncio.gather(*(erased_at_last(one, contact_id) for one in (stores, elsewhere)))
        assert await stores.erasures.clear(contact_id)
    assert min(sum(each.values()) for each in counts) == 0, "the second one found nothing left"
    record = await stores.erasures.record(contact_id)
    assert record is not None
    assert record.counts in [dict(each) for each in counts if any(each.values())]


async def test_the_answer_of_a_send_that_comes_after_the_erasure_says_how_it_ended_and_no_more(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([phone_alias(PHONE)])
    await stores.registry.register(a_row(contact_id), an_engagement(contact_id))
    sent = await stores.ledger.claim(a_send(contact_id))
    rejected = await stores.ledger.claim(a_send(contact_id, n=2))
    unknown = await stores.ledger.claim(a_send(contact_id, n=3))
    await erased(stores, contact_id)
    receipt = SendReceipt(message_id=MARKERS[0], run_id=MARKERS[1], thread_id=MARKERS[2])
    failure = SendFailure(code="131026", reason=MARKERS[7])
    await stores.ledger.settle(sent, LedgerState.SENT, receipt, None, NOON)
    await stores.ledger.settle(rejected, LedgerState.REJECTED, None, failure, NOON)
    await stores.ledger.resolve(unknown.key, LedgerState.SENT, receipt, NOON)
    rows = await stores.ledger.list()
    assert [row.state for row in rows] == [LedgerState.SENT, LedgerState.REJECTED, LedgerState.SENT]
    assert [row.code for row in rows] == ["", "131026", ""]
    held = select(*(sends.c[name] for name in EMPTIED[sends]))
    assert set(await stores.database.read(lambda connection: connection.execute(held).all())) == {("",) * 5}


async def test_a_send_that_is_tried_after_the_erasure_is_refused_and_keeps_no_thread(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([phone_alias(PHONE)])
    await erased(stores, contact_id)
    late = a_send(contact_id).model_copy(update={"thread_id": MARKERS[2]})
    with pytest.raises(PolicyRefused, match="erased"):
        await stores.ledger.claim(late)
    assert [row.thread_id for row in await stores.ledger.list()] == [""]


async def test_a_notice_whose_refusal_comes_after_the_erasure_is_not_kept(stores: Stores) -> None:
    contact_id = await a_person(stores)
    await erased(stores, contact_id)
    down = SendFailure(code="503", reason="down")
    await stores.letters.failed(a_notice(), down, attempt=2, gives_up_at=None, final=True)
    assert await stores.letters.list("acme") == ()
    await stores.letters.failed(a_notice("b-1"), down, attempt=1, gives_up_at=None, final=True)
    assert len(await stores.letters.list("acme")) == 1, "others' are"


async def test_an_event_that_finds_its_place_after_the_erasure_leaves_nothing(stores: Stores) -> None:
    contact_id = await a_person(stores)
    bench = Bench(World(stores))
    await bench.placed(UNMATCHED, finished("found-too-late"))
    (lost,) = await bench.review.list(EventState.UNMATCHED, limit=1)
    await erased(stores, contact_id)
    place = replace(pending("engagement:acme:a-1"), contact_id=contact_id)
    await bench.review.retry_unmatched([(lost.id, place)])
    c = inbox_events.c
    wanted = select(c.state, c.payload, c.sighting, c.contact_id).where(c.id == lost.id)
    (row,) = await stores.database.read(lambda connection: connection.execute(wanted).all())
    assert tuple(row) == (EventState.LATE.value, None, None, "")


def files_of(server: str, url: str) -> bytes:
    """Every table and index of a PostgreSQL database as it lies on the disk."""
    with psycopg.connect(conninfo(server), autocommit=True) as admin:
        admin.execute("CHECKPOINT")
        told = admin.execute(
            "SELECT oid, current_setting('data_directory') FROM pg_database WHERE datname = %s",
            [make_url(url).database],
        ).fetchone()
    assert told is not None
    return b"".join(one.read_bytes() for one in (Path(told[1]) / "base" / str(told[0])).iterdir())


async def test_a_destroyed_key_lies_in_no_file_of_postgresql(lending: Lending, server: str, keys: KeyRing) -> None:
    people = [f"ct_{n}" for n in range(60)]  # more than a page of them: a vacuum alone leaves the full one as it was
    with lending.lend() as url:
        async with Stores.open(url, keys) as stores:
            for contact_id in people:
                await stores.data_keys.key_for_contact("acme", contact_id)
            wanted = select(keys_table.c.wrapped)
            wrapped = await stores.database.read(lambda connection: list(connection.execute(wanted).scalars()))
            before = files_of(server, url)
            assert all(bytes(one)[20:] in before for one in wrapped)
            await stores.database.write(
                lambda connection: [destroy_within(connection, contact_id, NOON) for contact_id in people]
            )
            assert await stores.erasures.clear_many([])
            after = files_of(server, url)
            assert [one for one in wrapped if bytes(one)[20:] in after] == []


async def test_a_role_that_may_not_vacuum_does_not_say_that_the_bytes_are_gone(
    lending: Lending, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.0)
    role = f"writer_{uuid4().hex}"
    with lending.lend() as url, as_role(url, role) as lesser:
        async with Stores.open(lesser, keys) as stores:
            contact_id = await a_person(stores)
            await stores.erasures.mark(contact_id, *COMMAND, NOON)
            await stores.erasures.erase(contact_id, NOON)
            with structlog.testing.capture_logs() as logs:
                assert not await stores.erasures.clear(contact_id)
            assert await stores.erasures.unfinished(10)
        (told,) = [str(line["why"]) for line in logs if line["event"] == "traces_not_cleared"]
        assert "owner" in told


@contextmanager
def as_role(url: str, role: str) -> Iterator[str]:
    """The same database in the eyes of a role that may read and write its rows and owns nothing."""
    name = sql.Identifier(role)
    with psycopg.connect(conninfo(url), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        try:
            for rights in ("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES", "USAGE ON ALL SEQUENCES"):
                admin.execute(sql.SQL(f"GRANT {rights} IN SCHEMA public TO {{}}").format(name))
            yield make_url(url).set(username=role).render_as_string(hide_password=False)
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {}").format(name))
            admin.execute(sql.SQL("DROP ROLE {}").format(name))


async def test_while_somebody_may_still_see_the_old_rows_they_are_not_said_to_be_gone(
    lending: Lending, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "OLDER_SECONDS", 0.0)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.0)
    with lending.lend() as url:
        async with Stores.open(url, keys) as stores:
            contact_id = await a_person(stores)
            await stores.erasures.mark(contact_id, *COMMAND, NOON)
            with psycopg.connect(conninfo(url)) as reader:
                reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                reader.execute("SELECT 1")
                await stores.erasures.erase(contact_id, NOON)
                assert not await stores.erasures.clear(contact_id)
            assert await stores.erasures.unfinished(10)
            assert await stores.erasures.clear(contact_id)
            assert await stores.erasures.unfinished(10) == ()


async def test_a_claim_waits_for_who_is_just_erasing_the_person_and_is_refused_then(
    lending: Lending, keys: KeyRing
) -> None:
    with lending.lend() as url:
        async with Stores.open(url, keys) as stores:
            contact_id = await stores.contacts.resolve([phone_alias(PHONE)])
            with psycopg.connect(conninfo(url)) as eraser:
                eraser.execute("SELECT id FROM contacts WHERE id = %s FOR NO KEY UPDATE", [contact_id])
                claim = asyncio.create_task(stores.ledger.claim(a_send(contact_id)))
                await until_somebody_waits(url)
                eraser.execute("INSERT INTO erasures VALUES (%s, now(), 'olga', 'asked')", [contact_id])
            with pytest.raises(PolicyRefused, match="erased"):
                await claim


async def until_somebody_waits(url: str) -> None:
    """Until a transaction waits for a lock, or half a minute."""
    with psycopg.connect(conninfo(url), autocommit=True) as observer:
        for _ in range(600):
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            if observer.execute(waiting).fetchone() is not None:
                return
            await asyncio.sleep(0.05)
    raise AssertionError("nobody waited")
