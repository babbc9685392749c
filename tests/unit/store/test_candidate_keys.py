"""Data keys: one for each owner, wrapped, forgotten in time, destroyed for good."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from domain.errors import Erased, NotFound, SetupError
from runtime import event_loop
from store.candidate_keys import KEPT_SECONDS, DataKeys, KeyKind, KeyOwner, destroy_within
from store.database import Database
from store.keys import KeyRing
from store.registry import EngagementRow
from store.stores import Stores
from store.tables import keys as keys_table

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PEPPER = bytes(range(32))
OLD, NEW = b"o" * 32, b"n" * 32


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def row(reference: str, contact_id: str, tenant: str = "acme") -> EngagementRow:
    return EngagementRow(
        tenant=tenant,
        reference=reference,
        workflow_id=f"engagement:{tenant}:{reference}",
        contact_id=contact_id,
        line="main",
        account="acme-meta",
        provider="meta",
        plan="intake",
        fingerprints={"all": "1"},
        created_at=NOON,
    )


async def destroy(database: Database, contact_id: str, at: datetime = NOON) -> int:
    return await database.write(lambda connection: destroy_within(connection, contact_id, at))


async def test_an_owner_has_one_key_for_ever(stores: Stores, keys: KeyRing) -> None:
    first = await stores.data_keys.key_for_contact("acme", "ct_1")
    again = await DataKeys(stores.database, keys).key_for_contact("acme", "ct_1")

    assert again.id == first.id
    assert again.cipher.decrypt(bytes(12), first.cipher.encrypt(bytes(12), b"x", None), None) == b"x"


async def test_everybody_has_another_key(stores: Stores) -> None:
    k = stores.data_keys
    made = [
        await k.key_for_contact("acme", "ct_1"),
        await k.key_for_contact("acme", "ct_2"),
        await k.key_for_contact("other", "ct_1"),
        await k.audit_key("acme"),
        await k.audit_key("other"),
        await k.service_key(),
    ]
    assert len({key.id for key in made}) == len(made)
    sealed = {key.cipher.encrypt(bytes(12), b"the same text", None) for key in made}
    assert len(sealed) == len(made)


async def test_two_processes_at_once_make_one_key(stores: Stores, keys: KeyRing) -> None:
    processes = [DataKeys(stores.database, keys) for _ in range(8)]
    made = await asyncio.gather(*(one.key_for_contact("acme", "ct_1") for one in processes))

    assert len({key.id for key in made}) == 1
    assert len({key.cipher.encrypt(bytes(12), b"x", None) for key in made}) == 1


async def test_an_engagement_seals_under_its_candidates_key_and_anything_else_under_the_services(
    stores: Stores,
) -> None:
    await stores.registry.register(row("a-1", "ct_1"))
    k = stores.data_keys

    assert await k.key_for_workflow("engagement:acme:a-1") == await k.key_for_contact("acme", "ct_1")
    assert await k.key_for_workflow("gate:line:main") == await k.service_key()
    assert await k.key_for_workflow("") == await k.service_key()
    assert await k.audit_key_for_workflow("engagement:acme:a-1") == await k.audit_key("acme")
    assert await k.audit_key_for_workflow("gate:line:main") == await k.service_key()


async def test_nothing_is_sealed_for_an_engagement_that_nobody_registered(stores: Stores) -> None:
    with pytest.raises(NotFound, match="not registered"):
        await stores.data_keys.key_for_workflow("engagement:acme:nobody")


async def test_the_key_itself_is_not_in_the_store(stores: Stores, keys: KeyRing) -> None:
    key = await stores.data_keys.key_for_contact("acme", "ct_1")
    wanted = select(keys_table.c.wrapped).where(keys_table.c.id == key.id)
    wrapped = await stores.database.read(lambda connection: connection.execute(wanted).scalar_one())

    secret = keys.open(wrapped, "data-key")[-32:]
    assert secret not in wrapped
    with pytest.raises(SetupError, match="needs master key"):
        KeyRing(NEW, PEPPER).open(wrapped, "data-key")


async def test_a_wrapped_key_does_not_open_in_another_row(stores: Stores, keys: KeyRing) -> None:
    mine = await stores.data_keys.key_for_contact("acme", "ct_1")
    theirs = await stores.data_keys.key_for_contact("acme", "ct_2")
    stolen = select(keys_table.c.wrapped).where(keys_table.c.id == theirs.id).scalar_subquery()
    statement = update(keys_table).where(keys_table.c.id == mine.id).values(wrapped=stolen)
    await stores.database.write(lambda connection: connection.execute(statement))

    with pytest.raises(SetupError, match="altered"):
        await DataKeys(stores.database, keys).open(mine.id)


async def test_an_erased_person_has_no_key_with_any_tenant_and_never_gets_one(stores: Stores, keys: KeyRing) -> None:
    key = await stores.data_keys.key_for_contact("acme", "ct_1")
    await stores.data_keys.key_for_contact("other", "ct_1")
    kept = await stores.data_keys.key_for_contact("acme", "ct_2")

    assert await destroy(stores.database, "ct_1") == 2

    fresh = DataKeys(stores.database, keys)
    with pytest.raises(Erased, match="erased"):
        await fresh.open(key.id)
    for tenant in ("acme", "other", "a-third"):
        with pytest.raises(Erased, match="erased"):
            await fresh.key_for_contact(tenant, "ct_1")
    assert await fresh.open(kept.id) == kept


async def test_erasing_again_changes_nothing(stores: Stores) -> None:
    key = await stores.data_keys.key_for_contact("acme", "ct_1")
    assert await destroy(stores.database, "ct_1") == 1
    assert await destroy(stores.database, "ct_1", NOON.replace(hour=18)) == 0

    wanted = select(keys_table.c.wrapped, keys_table.c.destroyed_at).where(keys_table.c.id == key.id)
    found = await stores.database.read(lambda connection: connection.execute(wanted).one())
    assert tuple(found) == (None, NOON)


async def test_who_makes_a_key_while_it_is_erased_ends_without_one(stores: Stores, keys: KeyRing) -> None:
    for n in range(10):
        contact = f"ct_{n}"
        await asyncio.gather(
            DataKeys(stores.database, keys).key_for_contact("acme", contact),
            destroy(stores.database, contact),
            return_exceptions=True,
        )
        with pytest.raises(Erased):
            await DataKeys(stores.database, keys).key_for_contact("acme", contact)


async def test_no_process_keeps_a_key_longer_than_a_minute(stores: Stores, keys: KeyRing) -> None:
    clock = Clock()
    process = DataKeys(stores.database, keys, clock=clock)
    key = await process.key_for_contact("acme", "ct_1")
    await destroy(stores.database, "ct_1")

    clock.now += KEPT_SECONDS - 1
    assert await process.open(key.id) == key  # used, and for that not kept any longer
    clock.now += 1
    with pytest.raises(Erased):
        await process.open(key.id)
    with pytest.raises(Erased):
        await process.key_for_contact("acme", "ct_1")
    assert process.kept == 0


async def test_the_minute_begins_before_the_key_is_read_not_after(
    stores: Stores, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await stores.data_keys.key_for_contact("acme", "ct_1")
    clock, read = Clock(), stores.database.read

    async def slowly(work: Callable[[Connection], object]) -> object:
        found = await read(work)  # erased just after this, the key is on its way to us for another ten seconds
        clock.now += 10
        return found

    monkeypatch.setattr(stores.database, "read", slowly)
    process = DataKeys(stores.database, keys, clock=clock)
    assert await process.open(made.id) == made
    await destroy(stores.database, "ct_1")
    clock.now += KEPT_SECONDS - 10
    with pytest.raises(Erased):
        await process.open(made.id)


async def test_a_key_that_took_long_to_read_is_not_kept_for_those_that_came_sooner(
    stores: Stores, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = [(await stores.data_keys.key_for_contact("acme", one)).id for one in ("ct_1", "ct_2")]
    clock, read, gate = Clock(), stores.database.read, asyncio.Event()

    async def held_up(work: Callable[[Connection], object]) -> object:
        first = clock.now == 1000
        found = await read(work)
        if first:
            await gate.wait()
        return found

    monkeypatch.setattr(stores.database, "read", held_up)
    process = DataKeys(stores.database, keys, clock=clock)
    waiting = asyncio.create_task(process.open(slow))
    await asyncio.sleep(0)  # it has begun
    clock.now += 10
    await process.open(quick)
    gate.set()
    await waiting
    assert process.kept == 2
    clock.now = 1000 + KEPT_SECONDS
    process.forget_old()
    assert process.kept == 1


async def test_an_idle_process_lets_go_of_its_keys_too(stores: Stores, keys: KeyRing) -> None:
    loop = asyncio.get_running_loop()
    process = DataKeys(stores.database, keys)
    before = {id(handle) for handle in loop._scheduled}  # type: ignore[attr-defined]  # asyncio shows its timers to nobody
    await process.key_for_contact("acme", "ct_1")

    (alarm,) = [h for h in loop._scheduled if id(h) not in before and "alarm" in repr(h)]  # type: ignore[attr-defined]  # asyncio shows its timers to nobody
    assert alarm.when() - loop.time() <= KEPT_SECONDS


async def test_an_unknown_key_is_told_from_a_destroyed_one(stores: Stores) -> None:
    with pytest.raises(NotFound, match="another installation"):
        await stores.data_keys.open("dk_nothing")
    key = await stores.data_keys.audit_key("acme")
    owners = await stores.data_keys.owners_of([key.id, "dk_nothing"])
    assert owners == {key.id: KeyOwner(KeyKind.AUDIT, "acme")}


async def test_after_a_rotation_every_key_is_wrapped_again_in_steps_and_the_old_master_can_go(stores: Stores) -> None:
    old = DataKeys(stores.database, KeyRing(OLD, PEPPER))
    made = [await old.key_for_contact("acme", f"ct_{n}") for n in range(5)] + [await old.audit_key("acme")]
    await destroy(stores.database, "ct_0")
    both = DataKeys(stores.database, KeyRing(masters={"a": OLD, "b": NEW}, current="b", pepper=PEPPER))

    assert [await both.rewrap(limit=2) for _ in range(4)] == [2, 2, 1, 0]

    new = DataKeys(stores.database, KeyRing(NEW, PEPPER))
    for key in made[1:]:
        opened = await new.open(key.id)
        assert opened.cipher.decrypt(bytes(12), key.cipher.encrypt(bytes(12), b"x", None), None) == b"x"
    with pytest.raises(Erased):
        await new.open(made[0].id)
    counts = await new.counts()
    assert {(one.kind, one.count) for one in counts if one.master_id} == {(KeyKind.CONTACT, 4), (KeyKind.AUDIT, 1)}
    assert {one.master_id for one in counts if one.master_id} == {KeyRing(NEW, PEPPER).current_id}
    assert sum(one.count for one in counts if not one.master_id) == 1


async def test_keys_that_were_read_ahead_are_at_hand_without_another_look(stores: Stores, keys: KeyRing) -> None:
    made = []
    for n in range(3):
        await stores.registry.register(row(f"a-{n}", f"ct_{n}"))
        made.append((await stores.data_keys.key_for_workflow(f"engagement:acme:a-{n}")).id)
    clock, looks = Clock(), 0
    fresh = DataKeys(stores.database, keys, clock=clock)
    read = stores.database.read

    async def counted(work: Callable[[Connection], object]) -> object:
        nonlocal looks
        looks += 1
        return await read(work)

    stores.database.read = counted  # type: ignore[method-assign,assignment]  # one test's own count
    ids = [f"engagement:acme:a-{n}" for n in range(3)]
    await fresh.read_ahead(ids)
    assert [(await fresh.key_for_workflow(one)).id for one in ids] == made
    await fresh.read_ahead(ids)
    assert looks == 1
    clock.now += KEPT_SECONDS
    fresh.forget_old()
    assert fresh.kept == 0


async def test_what_has_no_key_is_left_out_and_whoever_asks_for_it_hears_why(stores: Stores, keys: KeyRing) -> None:
    await stores.registry.register(row("gone", "ct_gone"))
    await stores.data_keys.key_for_workflow("engagement:acme:gone")
    await stores.registry.register(row("new", "ct_new"))
    await destroy(stores.database, "ct_gone")
    fresh = DataKeys(stores.database, keys)
    await fresh.read_ahead(["engagement:acme:gone", "engagement:acme:new", "engagement:acme:never", "gate:line:nl-1"])
    assert fresh.kept == 0
    with pytest.raises(Erased):
        await fresh.key_for_workflow("engagement:acme:gone")


def test_a_key_is_read_in_the_moment_in_which_another_is_let_go(migrated_file: Path, tmp_path: Path) -> None:
    """On the loop of gateway and worker, where a timer that is due within half a millisecond is no timer."""

    async def read_two() -> set[str]:
        file, clock = tmp_path / "store.sqlite3", Clock()
        shutil.copy(migrated_file, file)
        async with Stores.open(f"sqlite:///{file}", KeyRing.generate()) as stores:
            process = DataKeys(stores.database, stores.keys, clock=clock)
            await process.key_for_contact("acme", "ct_1")
            clock.now += KEPT_SECONDS - 0.0001
            return {(await process.key_for_contact("acme", f"ct_{n}")).id for n in (2, 3)}

    assert len(event_loop.run(read_two())) == 2
