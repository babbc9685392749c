"""``rapport retention run``: who goes and who stays, what is said of it, and that it may be stopped and repeated."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from typer.testing import CliRunner, Result

from domain.contacts import Consent, OptOut, OptOutScope, phone_alias
from domain.errors import EngineUnavailable, NotFound
from domain.retention import KeptKind, RetentionTerms
from runtime.settings import load_settings
from runtime.temporal import connect
from starter.cli import app, retaining
from starter.cli.session import Session
from starter.engine import Engine, Live
from starter.retention import ACTOR, NO_PEOPLE, RetentionReport, RetentionService, Told
from store.clock import bookkeeping_now
from store.idempotency import Remembered
from store.leave import Reach, opt_out_in_force
from store.quiet_people import QuietPeople
from store.retention import Retention
from store.stores import Stores
from tests.unit.starter.test_erasing import Lines, actions
from tests.unit.starter.world import KEYS, NOW, NOWHERE, TOPOLOGY, sealing_plugin, service_on
from tests.unit.store.samples import a_close, a_row, an_engagement

LATER = bookkeeping_now() + RetentionTerms().contacts + timedelta(days=1)


class Temporal(Engine):
    """Temporal, as far as it is asked which of some engagements run."""

    def __init__(self, *running: str) -> None:
        self.running, self.away = set(running), False

    async def live(self, workflow_ids: Sequence[str]) -> dict[str, Live]:
        if self.away:
            raise EngineUnavailable("Temporal could not list engagements")
        return {one: Live() for one in workflow_ids if one in self.running}


def service(stores: Stores, temporal: Engine, kind: type[RetentionService] = RetentionService) -> RetentionService:
    retention = Retention(stores.database, stores.keys, clock=lambda: LATER)
    return kind(retention, QuietPeople(stores.database), stores.erasures, temporal, clock=lambda: LATER)


async def person(stores: Stores, reference: str, phone: str, *, closed: bool = True) -> str:
    contact_id = await stores.contacts.resolve([phone_alias(phone)])
    await stores.contacts.record_consent(contact_id, "acme", Consent(source="s", obtained_at=NOW))
    await stores.registry.register(a_row(contact_id, reference=reference), an_engagement(contact_id))
    if closed:
        await stores.registry.close(a_close(contact_id, reference=reference))
    return contact_id


async def known(stores: Stores, contact_id: str) -> bool:
    try:
        await stores.contacts.record(contact_id)
    except NotFound:
        return False
    return True


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    async with Stores.open(url, KEYS) as opened:
        yield opened


async def test_people_go_whole_when_nothing_was_heard_and_nothing_runs(stores: Stores) -> None:
    quiet = await person(stores, "a-1", "+31600000001")
    engaged = await person(stores, "a-2", "+31600000002", closed=False)
    ending = await person(stores, "a-3", "+31600000003")
    await stores.contacts.opt_out(quiet, OptOut(scope=OptOutScope.ALL, source="STOP", at=NOW))
    its = service(stores, Temporal("engagement:acme:a-3"))
    expected = (await its.look()).counts
    report = await its.run()
    assert [await known(stores, one) for one in (quiet, engaged, ending)] == [False, True, True]
    assert (report.still_running, report.traces_cleared, report.is_done) == (("engagement:acme:a-3",), True, True)
    assert (expected[KeptKind.PEOPLE], report.counts[KeptKind.PEOPLE]) == (2, 1)
    assert await stores.registry.input_of("engagement:acme:a-2") is not None
    record = await stores.erasures.record(quiet)
    assert record is not None
    assert (record.actor, record.reason, record.cleared_at is not None) == (
        ACTOR, "nothing was heard for 180 days", True,
    )  # fmt: skip
    assert set((await its.run()).counts.values()) == {0}
    again = await stores.contacts.resolve([phone_alias("+31600000001")])
    reach = Reach(tenant="acme", line="nl-1")
    assert await stores.database.read(lambda c: opt_out_in_force(c, again, reach)) is OptOutScope.ALL


async def test_a_look_changes_nothing(stores: Stores) -> None:
    quiet = await person(stores, "a-1", "+31600000001")
    report = await service(stores, Temporal()).look()
    assert (report.dry_run, report.counts[KeptKind.PEOPLE], report.counts[KeptKind.CONTENTS]) == (True, 1, 1)
    assert await known(stores, quiet)
    assert await stores.registry.input_of("engagement:acme:a-1") is not None


async def test_without_temporal_all_goes_but_people_and_the_next_run_goes_on(stores: Stores) -> None:
    quiet, temporal = await person(stores, "a-1", "+31600000001"), Temporal()
    temporal.away = True
    report = await service(stores, temporal).run()
    assert report.note.startswith(NO_PEOPLE)
    assert not report.is_done
    assert (report.counts[KeptKind.CONTENTS], report.counts[KeptKind.PEOPLE]) == (1, 0)
    assert await known(stores, quiet)
    temporal.away = False
    assert (await service(stores, temporal).run()).counts[KeptKind.PEOPLE] == 1


async def test_a_run_that_dies_in_the_middle_is_gone_on_with(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [await person(stores, f"a-{n}", f"+3160000000{n}") for n in range(3)]

    def dies_after_one(kind: KeptKind, count: int) -> None:
        if kind is KeptKind.PEOPLE:
            raise KeyboardInterrupt

    its = service(stores, Temporal())
    with pytest.raises(KeyboardInterrupt):
        await its.run(dies_after_one)
    assert sorted([await known(stores, one) for one in people]) == [False, True, True]
    assert len(await stores.erasures.unfinished(10)) == 1, "one is lost and not overwritten yet"
    with monkeypatch.context() as broken:  # marked, and dead before anything is lost
        broken.setattr(stores.erasures, "erase", _dies)
        with pytest.raises(KeyboardInterrupt):
            await service(stores, Temporal()).run()
    report = await its.run()
    assert report.counts[KeptKind.PEOPLE] == 2
    assert not any([await known(stores, one) for one in people])
    assert await stores.erasures.unfinished(10) == ()


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


class Desk:
    """The command on a real store, with Temporal away."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["retention", "run", *words], obj=self.session)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        async with Stores.open(self._url, KEYS) as stores:
            client = await connect(sealing_plugin(), address=NOWHERE, lazy=True)
            its = service(stores, Engine(client))
            yield Session(service_on(stores, client), TOPOLOGY, retention=its)


def test_the_command_tells_counts_and_leaves_a_line_on_record(url: str, logs: Lines) -> None:
    async def fill() -> None:
        async with Stores.open(url, KEYS) as stores:
            answer = Remembered(fingerprint="f", status=200, response="{}", created_at=NOW)
            await stores.idempotency.remember("acme", "k", answer)

    asyncio.run(fill())
    looked = Desk(url)("--dry-run", "--json")
    told = json.loads(looked.stdout)
    assert (looked.exit_code, told["dry_run"], told["counts"]["idempotency answers"]) == (0, True, 1)
    assert told["terms"]["contacts"] == "P180D"
    done = Desk(url)()
    assert done.exit_code == 0, done.output
    assert "1  answers to REST requests" in done.stdout
    assert json.loads(Desk(url)("--json").stdout)["counts"]["idempotency answers"] == 0
    assert [(line[3], line[5]) for line in actions(logs)] == [("retention run", "done")] * 3


def test_while_temporal_is_away_the_command_asks_to_be_repeated(url: str, logs: Lines) -> None:
    async def fill() -> None:
        async with Stores.open(url, KEYS) as stores:
            await person(stores, "a-1", "+31600000001")

    asyncio.run(fill())
    done = Desk(url)()
    assert (done.exit_code, "people were left alone" in done.stdout) == (5, True)
    assert [line[5] for line in actions(logs)] == ["ended with 5"]


class BrokenOff(RetentionService):
    """Somebody presses Ctrl-C after the first page."""

    async def run(self, tell: Told = lambda _kind, _count: None) -> RetentionReport:
        tell(KeptKind.TOLD, 3)
        raise asyncio.CancelledError


async def test_broken_off_by_hand_it_tells_what_went(stores: Stores) -> None:
    report, code = await retaining.carry_out(service(stores, Temporal(), BrokenOff))
    assert (report.counts[KeptKind.TOLD], report.is_done, int(code)) == (3, False, 1)
    assert "broken off" in report.note


def test_the_terms_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_RETENTION__CONTACTS", "90d")
    terms = load_settings().retention
    assert (terms.contacts, terms.contents) == (timedelta(days=90), timedelta(days=180))
