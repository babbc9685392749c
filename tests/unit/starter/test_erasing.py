"""``rapport erase`` and its REST route: what ends first, who may ask, what is said, and who did it on record."""

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from domain.calls import Command
from domain.contacts import Consent, phone_alias
from domain.engagements import Engagement
from domain.errors import EngineUnavailable, NotAllowed
from domain.outcomes import EngagementOutcome
from domain.topology import AccessToken, Role
from runtime.temporal import connect
from starter.audit import EVENT
from starter.cli import _load, app
from starter.cli.auditing import LOOKS, leaves
from starter.cli.commands import COMMANDS, PROCESSES
from starter.cli.session import Session
from starter.engine import Engine
from starter.erasure import ErasureService
from starter.routes import create_rest_app
from starter.tokens import AccessTokens
from store.stores import Stores
from tests.unit.gateway.world import World as Registered
from tests.unit.starter.world import KEYS, NOW, NOWHERE, TOPOLOGY, World, request, sealing_plugin, service_on, worker
from tests.unit.store.samples import NOON, a_close, a_row

PHONE = "+31612345678"
ERASER, OPERATOR = "eraser-token-0123456789ab", "operator-token-0123456789"
ACCESS = AccessTokens(
    [
        (AccessToken(name="dpo", tenant="acme", token="env:A", roles=frozenset({Role.ERASE})), SecretStr(ERASER)),
        (AccessToken(name="ats", tenant="acme", token="env:B", roles=frozenset({Role.OPERATE})), SecretStr(OPERATOR)),
    ]
)
Lines = list[MutableMapping[str, Any]]


def erasing_on(stores: Stores, client: Any) -> ErasureService:
    return ErasureService(stores.erasures, stores.contacts, stores.registry, Engine(client))


class Desk:
    """The commands on a real store, with Temporal away."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, *words: str, typed: str = "") -> Result:
        result = CliRunner().invoke(app, list(words), obj=self.session, input=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        async with Stores.open(self._url, KEYS) as stores:
            client = await connect(sealing_plugin(), address=NOWHERE, lazy=True)
            yield Session(service_on(stores, client), TOPOLOGY, erasing=erasing_on(stores, client))

    def person(self, *tenants: str, engaged: str = "") -> str:
        async def run() -> str:
            async with self.session() as session, Stores.open(self._url, KEYS) as stores:
                contact_id = await stores.contacts.resolve([phone_alias(PHONE)])
                for tenant in tenants:
                    await stores.contacts.record_consent(contact_id, tenant, Consent(source="s", obtained_at=NOW))
                if engaged:
                    await Registered(stores).engaged(engaged, PHONE, line="recruiting", account="acme-recrubo")
                assert session.erasing is not None
                return contact_id

        return asyncio.run(run())


@pytest.fixture
def desk(url: str) -> Desk:
    return Desk(url)


def actions(logs: Lines) -> list[tuple[str, ...]]:
    """The audit lines: who, role, tenant, what, to which, result."""
    names = ("who", "role", "tenant", "what", "reference", "result")
    return [tuple(line[name] for name in names) for line in logs if line["event"] == EVENT]


def test_a_person_is_erased_by_contact_id_and_the_number_is_asked_for_not_given(desk: Desk, logs: Lines) -> None:
    contact_id = desk.person("acme")
    refused = desk("erase", PHONE, "--reason", "asked", "--tenant", "acme", "--yes")
    assert (refused.exit_code, PHONE in refused.output) == (2, False)
    done = desk("erase", "--phone", "--reason", "asked", "--actor", "olga", "--yes", "--json", typed=PHONE + "\n")
    assert done.exit_code == 0, done.output
    assert PHONE not in done.output
    told = json.loads(done.stdout)
    assert (told["contact_id"], told["traces_cleared"], told["counts"]["consents"]) == (contact_id, True, 1)
    again = desk("erase", contact_id, "--reason", "asked", "--tenant", "acme", "--actor", "olga", "--yes")
    assert again.exit_code == 0, "nothing is left to lose"
    assert desk("erase", "--phone", "--reason", "r", "--yes", typed=PHONE + "\n").exit_code == 3
    assert [(line[0], line[3], line[4], line[5]) for line in actions(logs)][1:3] == [
        ("olga", "erase", "", "done"),
        ("olga", "erase", contact_id, "done"),
    ]
    assert PHONE[1:] not in repr(actions(logs))


def test_without_a_yes_nobody_is_erased(desk: Desk) -> None:
    contact_id = desk.person("acme")
    assert desk("erase", contact_id, "--reason", "r", "--tenant", "acme", typed="n\n").exit_code == 1
    assert desk("erase", contact_id, "--reason", "r", "--tenant", "acme", typed="y\n").exit_code == 0


def test_other_tenants_are_erased_only_when_that_is_meant(desk: Desk) -> None:
    contact_id = desk.person("acme", "globex")
    words = ("erase", contact_id, "--reason", "r", "--tenant", "acme", "--yes")
    assert desk(*words).exit_code == 4
    assert desk(*words, "--all-tenants").exit_code == 0


def test_while_temporal_is_away_nothing_is_destroyed_and_that_is_told(desk: Desk) -> None:
    desk.person("acme", engaged="app-1")
    words = ("erase", "app-1", "--reason", "r", "--tenant", "acme", "--yes", "--wait", "0", "--json")
    waits = desk(*words)
    told = json.loads(waits.stdout)
    assert (waits.exit_code, told["erased_at"], told["counts"]) == (5, None, {})
    assert [one["workflow_id"] for one in told["still_open"]] == ["engagement:acme:app-1"]


def test_every_command_is_on_record_but_those_that_only_look() -> None:
    loaded = [leaf for name, listed in COMMANDS.items() for leaf in leaves(name, _load(name, listed))]
    known = {words for words, _ in loaded}
    assert known >= LOOKS | PROCESSES, "what is left out exists"
    recorded = {words for words, leaf in loaded if leaf.callback.__code__.co_filename.endswith("auditing.py")}
    assert recorded == known - LOOKS - PROCESSES


@pytest.mark.server
async def test_what_is_open_is_stopped_first_and_the_registry_says_so(world: World, temporal: str, ref: str) -> None:
    async with worker(temporal):
        started = await world.service.start(request(ref), NOW)
        row = await world.stores.registry.get("acme", ref)
        assert row is not None
        command = Command(command_id=f"erase-{ref}", actor="olga", reason="asked")
        answer = await erasing_on(world.stores, world.client).erase(row.contact_id, command)
    assert (answer.is_done, answer.engagements, answer.still_open) == (True, (started.workflow_id,), ())
    gone = await world.stores.registry.get("acme", ref)
    assert gone is not None
    assert (gone.outcome, gone.erased_at is not None) == (EngagementOutcome.STOPPED, True)


@pytest.mark.server
async def test_what_does_not_end_in_time_is_told_and_nothing_is_destroyed(world: World, ref: str) -> None:
    await world.service.start(request(ref), NOW)  # nobody works on it
    row = await world.stores.registry.get("acme", ref)
    assert row is not None
    service = erasing_on(world.stores, world.client)
    command = Command(command_id=f"erase-{ref}", actor="olga", reason="asked")
    answer = await service.erase(row.contact_id, command, wait=timedelta(0))
    assert (answer.erased_at, len(answer.still_open)) == (None, 1)
    assert (await world.stores.contacts.record(row.contact_id)).consents
    async with worker(world.client.service_client.config.target_host):
        assert (await service.erase(row.contact_id, command)).is_done


@pytest.mark.server
async def test_a_start_that_was_in_hand_when_its_person_was_erased_leaves_nothing_running(
    world: World, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, service = Engine.start, erasing_on(world.stores, world.client)
    command = Command(command_id=f"erase-{ref}", actor="olga", reason="asked")

    async def late(engine: Engine, engagement: Engagement) -> bool:
        assert (await service.erase(engagement.contact_id, command)).is_done
        return await start(engine, engagement)

    with monkeypatch.context() as slow:
        slow.setattr(Engine, "start", late)
        with pytest.raises(NotAllowed, match="erased"):
            await world.service.start(request(ref), NOW)
    engine = Engine(world.client)
    assert not await engine.is_open(f"engagement:acme:{ref}")


@pytest.mark.server
async def test_a_run_of_somebody_erased_that_was_left_is_ended_by_asking_again(world: World, ref: str) -> None:
    await world.service.start(request(ref), NOW)  # nobody works on it
    row = await world.stores.registry.get("acme", ref)
    assert row is not None
    await world.stores.erasures.mark(row.contact_id, "olga", "asked", NOW)
    await world.stores.erasures.erase(row.contact_id, NOW)
    command = Command(command_id=f"erase-{ref}", actor="olga", reason="asked")
    assert (await erasing_on(world.stores, world.client).erase(row.contact_id, command)).is_done
    assert not await Engine(world.client).is_open(row.workflow_id)


class Away(Engine):
    """Temporal that does not answer."""

    async def is_open(self, workflow_id: str) -> bool:
        raise EngineUnavailable(f"Temporal could not look at {workflow_id}")


async def test_when_temporal_goes_away_in_the_middle_it_is_told_that_something_may_still_run(
    desk: Desk, url: str
) -> None:
    """What a start in hand brought there meanwhile could be carried on by nobody, and would be there for ever."""
    command = Command(command_id="erase-1", actor="olga", reason="asked")
    async with Stores.open(url, KEYS) as stores:
        contact_id = await stores.contacts.resolve([phone_alias(PHONE)])
        await stores.registry.register(a_row(contact_id))
        await stores.erasures.mark(contact_id, "olga", "asked", NOON)
        await stores.erasures.erase(contact_id, NOON)
        client = await connect(sealing_plugin(), address=NOWHERE, lazy=True)
        erasing = ErasureService(stores.erasures, stores.contacts, stores.registry, Away(client))
        answer = await erasing.erase(contact_id, command)
        shown = await asyncio.to_thread(desk, "erase", contact_id, "--reason", "r", "--tenant", "acme", "--yes")
    assert (answer.erased_at, [one.workflow_id for one in answer.still_open]) == (NOON, ["engagement:acme:a-1"])
    assert (answer.traces_cleared, answer.is_done) == (True, False)
    assert (shown.exit_code, "erased, but" in shown.stdout, "not erased" in shown.stdout) == (5, True, False)


async def test_by_rest_somebody_of_another_tenant_is_like_somebody_who_never_was(url: str, desk: Desk) -> None:
    async with desk.session() as session, Stores.open(url, KEYS) as stores:
        rest = create_rest_app(session.service, ACCESS, stores.idempotency, erasing=session.at_erasing())
        foreign = await stores.contacts.resolve([phone_alias("+31687654321")])
        await stores.contacts.record_consent(foreign, "globex", Consent(source="s", obtained_at=NOW))
        unknown, told = "ct_" + "0" * 32, []
        headers = {"Authorization": f"Bearer {ERASER}"}
        transport = httpx.ASGITransport(rest)
        async with httpx.AsyncClient(transport=transport, base_url="http://r", headers=headers) as client:
            for who in (foreign, unknown):
                answer = await client.post(f"/v1/contacts/{who}/erase", json={"reason": "asked"})
                told.append((answer.status_code, answer.text.replace(who, "WHO")))
    assert told[0] == told[1]


async def test_by_rest_the_role_is_needed_and_foreign_people_are_not_there(url: str, desk: Desk, logs: Lines) -> None:
    async with desk.session() as session, Stores.open(url, KEYS) as stores:
        erasing = session.at_erasing()
        rest = create_rest_app(session.service, ACCESS, stores.idempotency, erasing=erasing)
        mine = await stores.contacts.resolve([phone_alias(PHONE)])
        await stores.contacts.record_consent(mine, "acme", Consent(source="s", obtained_at=NOW))
        foreign = await stores.contacts.resolve([phone_alias("+31687654321")])
        await stores.contacts.record_consent(foreign, "globex", Consent(source="s", obtained_at=NOW))

        async def ask(token: str, who: str, reason: str = "asked") -> int:
            headers = {"Authorization": f"Bearer {token}"}
            transport = httpx.ASGITransport(rest)
            async with httpx.AsyncClient(transport=transport, base_url="http://r", headers=headers) as client:
                return (await client.post(f"/v1/contacts/{who}/erase", json={"reason": reason})).status_code

        assert await ask(OPERATOR, mine) == 403
        assert [await ask(ERASER, who) for who in (foreign, "app-nobody", "ct_" + "0" * 32)] == [404, 404, 404]
        await stores.contacts.record_consent(foreign, "acme", Consent(source="s", obtained_at=NOW))
        assert await ask(ERASER, foreign) == 409, "another tenant's too"
        assert await ask(ERASER, mine) == 200
        assert await ask("a-token-that-nobody-has", mine) == 401
    assert [line for line in actions(logs) if line[4] == mine] == [
        ("ats", "erase", "acme", "erase", mine, "refused 403"),
        ("dpo", "erase", "acme", "erase", mine, "done"),
    ]
    assert all(line["event"] != EVENT or "asked" not in repr(line) for line in logs)


async def test_the_decision_log_is_told_after_the_person_is_gone(desk: Desk, url: str) -> None:
    async with desk.session() as session, Stores.open(url, KEYS) as stores:
        contact_id = await stores.contacts.resolve([phone_alias(PHONE)])
        row = a_row(contact_id)
        await stores.registry.register(row)
        await stores.registry.close(a_close(contact_id))
        await stores.erasures.mark(contact_id, "olga", "asked", NOW)
        await stores.erasures.erase(contact_id, NOW)
        told = await session.service.trace("acme", "a-1")
        view = await session.service.get("acme", "a-1")
    assert [entry.text for entry in told.entries] == ["the flow run finished"]
    assert (view.snapshot, "erased" in view.note, view.summary.outcome) == (None, True, EngagementOutcome.COMPLETED)
