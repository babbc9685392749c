"""``rapport inbox`` on a real store, with a provider's own deliveries in it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from sqlalchemy import update
from typer.testing import CliRunner, Result

from domain.events import ProviderEvent
from gateway.correlation import may_tie_weakly
from gateway.desk import InboxService
from gateway.placement import AccountLines, place
from runtime.temporal import connect
from starter.cli import app
from starter.cli.session import Session
from store.correlations import Correlations, Sighting
from store.inbox import Inbox, PlacedEvent, Placement, ReadDelivery
from store.inbox_relay import Outbound
from store.inbox_tables import EventState
from store.stores import Stores
from store.tables import engagements
from tests.unit.gateway.world import World as Registered
from tests.unit.gateway.world import delivery, finished, now, number, wrote
from tests.unit.starter.world import KEYS, NOWHERE, TOPOLOGY, sealing_plugin, service_on

T = TypeVar("T")
ACCOUNT, LINE = "acme-recrubo", "recruiting"
PHONE = "+31612345678"


class Office:
    """The command ``rapport inbox`` and the store that it works on."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, *words: str) -> Result:
        result = CliRunner().invoke(app, ["inbox", *words], obj=self._session)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        async with Stores.open(self._url, KEYS) as stores:
            client = await connect(sealing_plugin(), address=NOWHERE, lazy=True)
            yield Session(service_on(stores, client), TOPOLOGY, inbox=InboxService.on(stores, TOPOLOGY))

    def within(self, work: Callable[[Stores], Coroutine[None, None, T]]) -> T:
        """Do something with the store itself."""

        async def run() -> T:
            async with Stores.open(self._url, KEYS) as stores:
                return await work(stores)

        return asyncio.run(run())

    def receives(self, event: ProviderEvent, placement: Placement | None = None) -> None:
        """A delivery of one event came in and was read, by correlation or as the test says."""

        async def work(stores: Stores) -> None:
            inbox = Inbox(stores.database, KEYS)
            await inbox.keep([delivery(event, account=ACCOUNT)])
            (claimed,) = await inbox.claim([ACCOUNT], 1)
            sighting = Sighting.of(event, KEYS, thread_may_tie=may_tie_weakly(event))
            found = await Correlations(stores.database).find(ACCOUNT, [sighting])
            placed = placement or place(event, sighting, found, AccountLines((LINE,)))
            await inbox.keep_events([ReadDelivery(claimed, (PlacedEvent(event, sighting, placed),))])

        self.within(work)

    def engages(self, reference: str) -> str:
        async def work(stores: Stores) -> str:
            return await Registered(stores).engaged(reference, PHONE, LINE, ACCOUNT)

        return self.within(work)

    def sends(self, workflow_id: str, run_id: str) -> None:
        async def work(stores: Stores) -> None:
            world = Registered(stores)
            await world.settled(await world.claimed(workflow_id, PHONE, line=LINE, account=ACCOUNT), run_id=run_id)

        self.within(work)

    def ends(self, reference: str) -> None:
        async def work(stores: Stores) -> None:
            ended = update(engagements).where(engagements.c.reference == reference)
            closed = ended.values(closed_at=now(), outcome="STOPPED")
            await stores.database.write(lambda connection: connection.execute(closed))

        self.within(work)

    def handed_over(self) -> list[tuple[str, str]]:
        """(engagement, event key) of what the relay would hand over now."""

        async def work(stores: Stores) -> list[tuple[str, str]]:
            due = await Outbound(stores.database, KEYS).due(10)
            return [(batch.workflow_id, event.key) for batch in due.batches for event in batch.events]

        return self.within(work)

    def listed(self, *words: str) -> list[dict[str, object]]:
        events: list[dict[str, object]] = json.loads(self("list", "--json", *words).stdout)
        return events


@pytest.fixture
def inbox(url: str) -> Office:
    return Office(url)


def test_an_empty_inbox_says_so(inbox: Office) -> None:
    assert (inbox("list").exit_code, inbox("list").stdout.strip()) == (0, "no events")


def test_what_waits_for_a_person_is_listed_without_what_they_wrote(inbox: Office) -> None:
    inbox.receives(wrote("m-1", "I am Ada Lovelace", number(PHONE), thread_id="t-1"))
    shown = inbox("list")
    (event,) = inbox.listed()
    assert (event["state"], event["reason"], event["kind"]) == ("unmatched", "no-tie", "text")
    details = inbox("show", str(event["id"]))
    assert "t-1" in details.stdout
    for output in (shown.stdout, details.stdout, json.dumps(event), inbox("show", str(event["id"]), "--json").stdout):
        assert "Ada" not in output
        assert PHONE[1:] not in output


def test_filters_choose_and_a_wrong_account_is_told(inbox: Office) -> None:
    inbox.receives(finished("e-1", run_id="run-1"))
    inbox.receives(finished("e-2"), Placement(EventState.PARKED, "ties-disagree"))
    assert [one["reason"] for one in inbox.listed("--state", "parked")] == ["ties-disagree"]
    assert [one["reason"] for one in inbox.listed("--reason", "no-tie")] == ["no-tie"]
    assert len(inbox.listed("--account", ACCOUNT, "--limit", "1")) == 1
    assert inbox("list", "--account", "nobody").exit_code == 2


def test_an_event_that_is_not_there_ends_with_not_found(inbox: Office) -> None:
    result = inbox("show", "999")
    assert result.exit_code == 3
    assert "rapport inbox list" in result.stderr


def test_an_event_says_which_open_engagements_the_same_person_has(inbox: Office) -> None:
    workflows = [inbox.engages("a-1"), inbox.engages("a-2")]
    for n, workflow_id in enumerate(workflows):
        inbox.sends(workflow_id, f"run-{n}")
    inbox.receives(wrote("m-1", "hello", number(PHONE)))
    (event,) = inbox.listed()
    assert event["reason"] == "address-ambiguous"
    details = json.loads(inbox("show", str(event["id"]), "--json").stdout)
    assert details["may_belong_to"] == workflows


def test_an_event_is_tried_again_and_finds_the_send_that_is_known_now(inbox: Office) -> None:
    inbox.receives(finished("e-1", run_id="run-1"))
    (event,) = inbox.listed()
    assert inbox("replay", str(event["id"])).exit_code == 1  # it still belongs to nobody
    workflow_id = inbox.engages("a-1")
    inbox.sends(workflow_id, "run-1")
    assert inbox("replay", str(event["id"])).exit_code == 0
    assert inbox.handed_over() == [(workflow_id, "e-1")]
    assert inbox("replay", str(event["id"])).exit_code == 4  # it is on its way already


def test_a_text_that_could_mean_two_engagements_is_not_given_to_the_one_that_is_left(inbox: Office) -> None:
    for n, workflow_id in enumerate([inbox.engages("a-1"), inbox.engages("a-2")]):
        inbox.sends(workflow_id, f"run-{n}")
    inbox.receives(wrote("m-1", "hello", number(PHONE)))
    inbox.ends("a-1")
    (event,) = inbox.listed()
    assert inbox("replay", str(event["id"])).exit_code == 1
    assert inbox.handed_over() == []


def test_a_late_event_and_a_dead_letter_can_be_tried_again(inbox: Office) -> None:
    workflow_id = inbox.engages("a-1")
    inbox.sends(workflow_id, "run-1")
    inbox.receives(finished("late", run_id="run-1"), Placement(EventState.LATE, "run_id", workflow_id))
    inbox.receives(finished("dead", run_id="run-1"), Placement(EventState.PARKED, "refused-by-temporal", workflow_id))
    assert inbox("replay", "--state", "late").exit_code == 0
    assert inbox("replay", "--state", "parked", "--reason", "refused").exit_code == 0
    assert sorted(inbox.handed_over()) == [(workflow_id, "dead"), (workflow_id, "late")]


def test_a_quarantined_delivery_is_read_anew(inbox: Office) -> None:
    async def work(stores: Stores) -> None:
        store = Inbox(stores.database, KEYS)
        await store.keep([delivery(finished("e-1"), account=ACCOUNT)])
        (claimed,) = await store.claim([ACCOUNT], 1)
        await store.keep_events([ReadDelivery(claimed, quarantine="not JSON")])

    inbox.within(work)
    (event,) = inbox.listed("--state", "quarantined")
    assert inbox("replay", str(event["id"])).exit_code == 0

    async def unread(stores: Stores) -> int:
        return len(await Inbox(stores.database, KEYS).claim([ACCOUNT], 10))

    assert inbox.within(unread) == 1


def test_an_assigned_event_goes_to_the_engagement_with_who_and_why(inbox: Office) -> None:
    workflow_id = inbox.engages("a-1")
    inbox.receives(finished("e-1"))
    (event,) = inbox.listed()
    words = ("assign", str(event["id"]), "a-1", "--tenant", "acme", "--reason", "seen there", "--actor", "ada")
    assert inbox(*words).exit_code == 0
    assert inbox.handed_over() == [(workflow_id, "e-1")]
    (moved,) = inbox.listed("--all")
    assert moved["reason"] == "assigned by ada: seen there (was: no-tie)"


@pytest.mark.parametrize(("reference", "code"), [("nobody", 3), ("elsewhere", 4), ("ended", 4)])
def test_an_event_is_not_assigned_where_it_cannot_belong(inbox: Office, reference: str, code: int) -> None:
    async def work(stores: Stores) -> None:
        await Registered(stores).engaged("elsewhere", PHONE, "other-line", "other-account")

    inbox.within(work)
    inbox.engages("ended")
    inbox.ends("ended")
    inbox.receives(finished("e-1"))
    (event,) = inbox.listed()
    words = ("assign", str(event["id"]), reference, "--tenant", "acme", "--reason", "seen there")
    assert inbox(*words).exit_code == code
    assert inbox.handed_over() == []


def test_a_discarded_event_is_tried_no_more_and_keeps_who_and_why(inbox: Office) -> None:
    inbox.receives(finished("e-1"))
    (event,) = inbox.listed()
    assert inbox("discard", str(event["id"]), "--reason", "a test of theirs", "--actor", "ada").exit_code == 0
    assert inbox.listed() == []
    (kept,) = inbox.listed("--state", "discarded")
    assert kept["reason"] == "discarded by ada: a test of theirs (was: no-tie)"
    assert inbox("replay", str(event["id"])).exit_code == 4


def test_wrong_words_are_told_at_once_and_nothing_happens(inbox: Office) -> None:
    inbox.receives(finished("e-1"))
    assert inbox("replay").exit_code == 2
    assert inbox("replay", "--state", "relayed").exit_code == 2
    assert inbox("list", "--all", "--state", "late").exit_code == 2
    assert inbox("discard", "1", "--reason", "").exit_code == 2
    assert [one["state"] for one in inbox.listed()] == ["unmatched"]
