"""Erasing a person: what becomes of every column, that no byte is left in file, log or dump, and that it repeats."""

import base64
import importlib
import os
import pkgutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

import store
from domain.contacts import Alias, AliasKind, OptOut, OptOutScope, phone_alias
from domain.errors import NotAllowed, NotFound, PolicyRefused
from domain.outcomes import EngagementOutcome
from domain.sends import LedgerState, SendFailure, SendReceipt
from store import erasure
from store.erasure_columns import DELETED, EMPTIED, KEPT, NOBODYS, REWRITTEN, emptied
from store.idempotency import Remembered
from store.inbox_tables import EventState, inbox_events
from store.keys import KeyRing
from store.leave import Reach, opt_out_in_force
from store.registry import ArchivedEngagement
from store.stores import Stores
from store.tables import engagements, keys, metadata, sends
from store.veil import veiled
from tests.postgres import conninfo
from tests.unit.gateway.world import World, finished, wrote
from tests.unit.store.samples import CONSENT, HOUR, NOON, PHONE, a_close, a_row, a_send, an_admission, an_engagement
from tests.unit.store.test_ats import a_notice
from tests.unit.store_inbox.bench import UNMATCHED, Bench, pending

OTHER = "+31687654321"
LINE = Reach(tenant="acme", line="nl-1")
MARKERS = (
    *("wamid.marker-of-the-person", "run-marker-of-the-person", "thread-marker-of-the-person"),
    *("consent-marker-of-the-person", "stop-marker-of-the-person", "start-marker-of-the-person"),
    *("response-marker-of-the-person", "reason-marker-of-the-person"),
)
COMMAND = ("olga", "asked for it")


async def a_person(stores: Stores, *, reference: str = "a-1", phone: str = PHONE) -> str:
    """Somebody of whom the store has everything that it can have."""
    contact_id = await stores.contacts.resolve([phone_alias(phone)])
    await stores.contacts.record_consent(contact_id, "acme", CONSENT.model_copy(update={"source": MARKERS[3]}))
    out = OptOut(scope=OptOutScope.LINE, scope_value="elsewhere", source=MARKERS[4], at=NOON - HOUR)
    await stores.contacts.opt_out(contact_id, out)
    await stores.contacts.opt_in(contact_id, out.scope, out.scope_value, NOON, MARKERS[5])
    await stores.contacts.record_inbound(contact_id, "nl-1", NOON)
    row = a_row(contact_id, reference=reference)
    await stores.registry.register(row, an_engagement(contact_id, reference=reference))
    await stores.contacts.admit(an_admission(contact_id, reference=reference))
    await stores.data_keys.key_for_contact("acme", contact_id)
    claim = await stores.ledger.claim(a_send(contact_id, reference=reference))
    receipt = SendReceipt(message_id=MARKERS[0], run_id=MARKERS[1], thread_id=MARKERS[2])
    await stores.ledger.settle(claim, LedgerState.SENT, receipt, None, NOON)
    await stores.database.write(
        lambda connection: connection.execute(
            update(sends).where(sends.c.key == claim.key).values(thread_id=MARKERS[2], reason=MARKERS[7])
        )
    )
    bench = Bench(World(stores))
    tied = wrote(f"e-{reference}-1", "a marker", Alias(kind=AliasKind.PHONE, value=phone[1:]))
    await bench.placed(replace(pending(row.workflow_id), contact_id=contact_id), tied)
    await bench.placed(UNMATCHED, wrote(f"e-{reference}-2", "lost", Alias(kind=AliasKind.PHONE, value=phone[1:])))
    down = SendFailure(code="503", reason="down")
    await stores.letters.failed(a_notice(reference), down, attempt=1, gives_up_at=None, final=True)
    response = f'{{"workflow_id":"{row.workflow_id}","x":"{MARKERS[6]}"}}'
    answer = Remembered(fingerprint="f", status=202, response=response, created_at=NOON)
    await stores.idempotency.remember("acme", f"key-{reference}", answer)
    await stores.registry.close(a_close(contact_id, reference=reference))
    return contact_id


async def erased(stores: Stores, contact_id: str) -> dict[str, int]:
    await stores.erasures.mark(contact_id, *COMMAND, NOON + HOUR)
    counts = await stores.erasures.erase(contact_id, NOON + HOUR)
    assert await stores.erasures.clear(contact_id)
    return dict(counts)


def held(url: str) -> bytes:
    """Every byte that the store keeps: the SQLite file with its log, or a dump of the database."""
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        return b"".join(one.read_bytes() for one in (file, file.with_name(file.name + "-wal")) if one.exists())
    dump = ["pg_dump", "--inserts", f"--dbname={conninfo(url)}"]
    return subprocess.run(dump, capture_output=True, check=True, env=dict(os.environ)).stdout


def sealed_of(connection: Connection) -> list[bytes]:
    """What is sealed of people now: with the master key each of these would open."""
    found: list[bytes] = []
    for table, name in ((engagements, "input"), (engagements, "archive"), (inbox_events, "payload"), (keys, "wrapped")):
        found += [bytes(one) for one in connection.execute(select(table.c[name])).scalars() if one is not None]
    return found


def as_held(url: str, sealed: bytes) -> bytes:
    """The middle of something sealed as it lies there: long enough to be found, short enough to be on one page."""
    part = sealed[12:60]
    return part if url.startswith("sqlite") else part.hex().encode()


def forms(keys: KeyRing, marker: str) -> tuple[bytes, bytes]:
    """A text as it is, and as it stands in a column that nobody may read."""
    return marker.encode(), base64.urlsafe_b64encode(keys.veil.encrypt(marker.encode(), None))


def test_it_is_decided_for_every_column_what_becomes_of_it() -> None:
    for module in pkgutil.iter_modules(store.__path__, "store."):  # every table of the room declares itself
        if not module.ispkg:
            importlib.import_module(module.name)
    undecided = []
    for table in metadata.tables.values():
        places = [table in NOBODYS, table in DELETED, table in KEPT]
        assert sum(places) == 1, f"{table.name}: say in store.erasure_columns what erasing a person does to it"
        if table in KEPT:
            told = [*KEPT[table], *EMPTIED.get(table, ()), *REWRITTEN.get(table, ())]
            assert len(told) == len(set(told)), table.name
            undecided += sorted({column.name for column in table.columns} ^ set(told))
    assert undecided == []


async def test_no_byte_of_the_person_is_left_in_file_log_or_dump(stores: Stores, url: str) -> None:
    contact_id = await a_person(stores)
    before = held(url)
    sealed = await stores.database.read(sealed_of)
    assert len(sealed) == 5, "input, archive, two events, one key"
    veils = await stores.database.read(lambda connection: [veiled(one, connection.dialect) for one in MARKERS])
    as_they_lie = [(marker.encode(), veil.encode()) for marker, veil in zip(MARKERS, veils, strict=True)]
    assert all(plain in before or veil in before for plain, veil in as_they_lie), "the search finds what is there"
    assert all(as_held(url, one) in before for one in sealed)
    assert min((await erased(stores, contact_id)).values()) == 0
    after = held(url)
    assert [plain for plain, veil in as_they_lie if plain in after or veil in after] == []
    assert [one for one in sealed if as_held(url, one) in after] == []


async def test_every_kind_of_thing_is_counted_and_a_repeat_finds_nothing(stores: Stores) -> None:
    contact_id = await a_person(stores)
    counts = await erased(stores, contact_id)
    nothing = {"suppressions", "told by the ATS"}
    assert {kind for kind, many in counts.items() if not many} == nothing
    assert set((await erased(stores, contact_id)).values()) == {0}
    record = await stores.erasures.record(contact_id)
    assert record is not None
    assert (record.actor, record.erased_at, record.counts) == ("olga", NOON + HOUR, counts)
    assert record.cleared_at is not None
    assert await stores.erasures.unfinished(10) == ()


async def test_structure_instants_and_audit_texts_stay(stores: Stores) -> None:
    contact_id = await a_person(stores)
    (entry,) = await stores.ledger.list()
    before = await stores.registry.get("acme", "a-1")
    await erased(stores, contact_id)
    row = await stores.registry.get("acme", "a-1")
    assert row is not None
    assert before is not None
    assert row.model_copy(update={"erased_at": None, "fingerprints": before.fingerprints}) == before
    assert row.erased_at == NOON + HOUR
    archive = ArchivedEngagement.model_validate_json(await stores.registry.archive_of("acme", "a-1") or "")
    assert [one.text for one in archive.decisions] == ["the flow run finished"]
    assert (archive.result.settlement.answers, archive.snapshot) == ({}, "")
    assert archive.result.settlement.outcome is EngagementOutcome.COMPLETED
    assert await stores.registry.input_of(row.workflow_id) is None
    (kept,) = await stores.ledger.list()
    lost = dict.fromkeys((name for name in emptied(sends) if name in type(entry).model_fields), "")
    assert kept == entry.model_copy(update=lost)


async def test_nobody_else_loses_anything(stores: Stores) -> None:
    contact_id = await a_person(stores)
    other = await a_person(stores, reference="b-1", phone=OTHER)
    sealed = await stores.database.read(sealed_of)
    await erased(stores, contact_id)
    left = await stores.database.read(sealed_of)
    assert len([one for one in sealed if one in left]) == 5
    assert (await stores.contacts.record(other)).consents
    assert [one.message_id for one in await stores.ledger.list()].count(MARKERS[0]) == 1
    assert len(await stores.letters.list("acme")) == 1


async def test_an_opt_out_outlives_the_person_and_a_lifted_one_does_not(stores: Stores) -> None:
    contact_id = await a_person(stores)
    await stores.contacts.opt_out(
        contact_id, OptOut(scope=OptOutScope.LINE, scope_value="nl-1", source="wrote STOP", at=NOON)
    )
    assert (await erased(stores, contact_id))["suppressions"] == 2, "under the number and under the thread"
    again = await stores.contacts.resolve([phone_alias(PHONE)])
    assert again != contact_id
    elsewhere = Reach(tenant="acme", line="elsewhere")

    async def in_force(reach: Reach) -> OptOutScope | None:
        return await stores.database.read(lambda connection: opt_out_in_force(connection, again, reach))

    assert (await in_force(LINE), await in_force(elsewhere)) == (OptOutScope.LINE, None)
    await stores.contacts.opt_in(again, OptOutScope.LINE, "nl-1", NOON + HOUR)
    assert await in_force(LINE) is None, "START restores, as for everybody"
    await erased(stores, again)
    await stores.contacts.resolve([phone_alias(PHONE)])
    fresh = await stores.contacts.resolve([phone_alias(PHONE)])
    assert await stores.database.read(lambda connection: opt_out_in_force(connection, fresh, LINE)) is None


async def test_from_the_mark_on_nothing_begins_and_nothing_is_sent(stores: Stores) -> None:
    contact_id = await a_person(stores)
    await stores.registry.register(a_row(contact_id, reference="a-2"))
    await stores.erasures.mark(contact_id, *COMMAND, NOON)
    with pytest.raises(NotAllowed, match="being erased"):
        await stores.registry.register(a_row(contact_id, reference="a-3"))
    assert (await stores.contacts.admit(an_admission(contact_id, reference="a-2"))).rule == "unknown-contact"
    with pytest.raises(PolicyRefused, match="erased"):
        await stores.ledger.claim(a_send(contact_id, n=2))
    assert [one.contact_id for one in await stores.erasures.unfinished(10)] == [contact_id]


async def test_a_reference_of_somebody_erased_is_not_used_again(stores: Stores) -> None:
    await erased(stores, await a_person(stores))
    again = await stores.contacts.resolve([phone_alias(PHONE)])
    with pytest.raises(NotAllowed, match="new reference"):
        await stores.registry.register(a_row(again))
    _, created, _ = await stores.registry.register(a_row(again, reference="a-2"))
    assert created, "who comes back without an opt-out is welcome"


async def test_an_engagement_that_never_ended_is_closed_as_stopped(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([phone_alias(PHONE)])
    await stores.registry.register(a_row(contact_id), an_engagement(contact_id))
    await erased(stores, contact_id)
    row = await stores.registry.get("acme", "a-1")
    assert row is not None
    assert (row.outcome, row.closed_at) == (EngagementOutcome.STOPPED, NOON + HOUR)
    assert await stores.registry.unstarted(registered_before=NOON + timedelta(days=9), limit=9) == ()


async def test_what_comes_afterwards_for_somebody_erased_leaves_nothing(stores: Stores) -> None:
    contact_id = await a_person(stores)
    await erased(stores, contact_id)
    bench = Bench(World(stores))
    late = replace(UNMATCHED, state=EventState.LATE, contact_id=contact_id, workflow_id="engagement:acme:a-1")
    await bench.placed(late, finished("after"))
    assert await stores.database.read(sealed_of) == await _archives(stores), "the bare archive and nothing else"


async def _archives(stores: Stores) -> list[bytes]:
    wanted = select(engagements.c.archive)
    return [bytes(one) for one in await stores.database.read(lambda c: list(c.execute(wanted).scalars()))]


async def test_a_crash_on_the_way_loses_nothing_and_the_next_call_goes_on(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact_id = await a_person(stores)
    await stores.erasures.mark(contact_id, *COMMAND, NOON)
    steps = ("_forget_events", "_empty_sends", "suppress_within", "destroy_within", "bare_archive", "_forget_answers")
    for step in steps:
        with monkeypatch.context() as broken:
            broken.setattr(erasure, step, _dies)
            with pytest.raises(KeyboardInterrupt):
                await stores.erasures.erase(contact_id, NOON)
        assert (await stores.contacts.record(contact_id)).consents, f"{step}: all or nothing"
    with monkeypatch.context() as broken:
        broken.setattr(erasure, "_sweep", _dies)
        with pytest.raises(KeyboardInterrupt):
            await stores.erasures.erase(contact_id, NOON)
    assert await stores.erasures.unfinished(10), "the bytes are not overwritten yet"
    assert set((await erased(stores, contact_id)).values()) == {0}
    assert await stores.erasures.unfinished(10) == ()


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


async def test_nobody_is_not_erased(stores: Stores) -> None:
    with pytest.raises(NotFound):
        await stores.erasures.mark("ct_nobody", *COMMAND, NOON)
