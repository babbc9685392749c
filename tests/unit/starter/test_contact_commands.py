"""``rapport contacts`` and ``rapport ats`` on a real store: what is recorded, what is shown, and what never is."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from typer.testing import CliRunner, Result

from domain.ats import AtsTelling, AtsWord
from domain.calls import AtsNotice
from domain.contacts import OptOutScope, Reach, phone_alias
from domain.errors import ProviderUnavailable
from domain.outcomes import EngagementOutcome, EngagementResult, Settlement
from domain.sends import SendFailure
from domain.stop_words import StopWords
from providers.meta.settings import MetaSettings
from providers.recrubo.settings import RecruboSettings
from providers.truora.settings import TruoraSettings
from runtime.temporal import connect
from starter.cli import app
from starter.cli.session import Session
from starter.contacts import ContactService
from starter.engine import Engine
from starter.letters import AtsService
from store.leave import opt_out_in_force
from store.stores import Stores
from tests.unit.gateway.world import World as Registered
from tests.unit.starter.test_files import EXAMPLES
from tests.unit.starter.world import KEYS, NOW, NOWHERE, TOPOLOGY, sealing_plugin, service_on
from tests.workflow.scripted import HeardNotices

T = TypeVar("T")
PHONE, OTHER = "+31612345678", "+31687654321"


class Desk:
    """The commands, and the store and the tenant's system that they work on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.heard = HeardNotices()

    def __call__(self, *words: str) -> Result:
        result = CliRunner().invoke(app, list(words), obj=self._session)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        async with Stores.open(self._url, KEYS) as stores:
            client = await connect(sealing_plugin(), address=NOWHERE, lazy=True)
            contacts = ContactService(stores.contacts, stores.registry, Engine(client), TOPOLOGY)
            ats = AtsService(stores.letters, stores.told, self._notifier)
            yield Session(service_on(stores, client), TOPOLOGY, contacts=contacts, ats=ats)

    @asynccontextmanager
    async def _notifier(self) -> AsyncIterator[HeardNotices]:
        yield self.heard

    def within(self, work: Callable[[Stores], Coroutine[None, None, T]]) -> T:
        """Do something with the store itself."""

        async def run() -> T:
            async with Stores.open(self._url, KEYS) as stores:
                return await work(stores)

        return asyncio.run(run())

    def in_force(self, phone: str, **reach: str) -> OptOutScope | None:
        """The opt-out that stops a message of this reach to the person."""

        async def work(stores: Stores) -> OptOutScope | None:
            contact_id = await stores.contacts.find([phone_alias(phone)]) or ""
            touched = Reach.model_validate({"tenant": "acme", "line": "recruiting", **reach})
            return await stores.database.read(lambda connection: opt_out_in_force(connection, contact_id, touched))

        return self.within(work)

    def engages(self, reference: str) -> None:
        """The person has an open engagement."""

        async def work(stores: Stores) -> None:
            await Registered(stores).engaged(reference, PHONE, line="recruiting", account="acme-recrubo")

        self.within(work)


@pytest.fixture
def desk(url: str) -> Desk:
    return Desk(url)


def test_an_opt_out_of_somebody_unknown_is_not_forgotten_and_shows_with_its_evidence(desk: Desk) -> None:
    said = ("--reason", "called the office", "--actor", "olga")
    given = desk("contacts", "opt-out", PHONE, "--scope", "tenant", "--tenant", "acme", *said)
    assert given.exit_code == 0, given.output
    shown = desk("contacts", "show", PHONE)
    record = json.loads(desk("contacts", "show", PHONE, "--json").stdout)["record"]
    (out,) = record["opt_outs"]
    assert (out["scope"], out["scope_value"], out["source"]) == ("tenant", "acme", "olga: called the office")
    assert "in force" in shown.stdout
    for output in (given.output, shown.output, json.dumps(record)):
        assert PHONE[1:] not in output
    assert desk.in_force(PHONE) is OptOutScope.TENANT
    assert desk.in_force(PHONE, tenant="globex", line="globex-line") is None


def test_an_opt_in_lifts_its_own_scope_alone_and_keeps_the_evidence(desk: Desk) -> None:
    for words in (("all",), ("line", "--value", "recruiting")):
        assert desk("contacts", "opt-out", PHONE, "--scope", *words, "--reason", "no").exit_code == 0
    lifted = desk("contacts", "opt-in", PHONE, "--scope", "all", "--reason", "wrote again")
    assert "still opted out: line recruiting" in lifted.stdout
    assert desk.in_force(PHONE) is OptOutScope.LINE
    desk("contacts", "opt-in", PHONE, "--scope", "line", "--value", "recruiting", "--reason", "wrote again")
    assert desk.in_force(PHONE) is None
    record = json.loads(desk("contacts", "show", PHONE, "--json").stdout)["record"]
    assert (len(record["opt_outs"]), len(record["opt_ins"])) == (2, 2)


def test_a_job_is_one_of_its_tenant(desk: Desk) -> None:
    words = ("--scope", "job", "--value", "nurse", "--reason", "another job")
    assert desk("contacts", "opt-out", PHONE, *words).exit_code == 2, "whose job is not said"
    assert desk("contacts", "opt-out", PHONE, *words, "--tenant", "acme").exit_code == 0
    assert desk.in_force(PHONE, job="nurse") is OptOutScope.JOB
    assert desk.in_force(PHONE, job="cook") is None
    assert desk.in_force(PHONE, job="nurse", tenant="globex") is None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show", "0612"), 2),
        (("show", OTHER), 3),
        (("show", "ct_nobody"), 3),
        (("opt-in", OTHER, "--scope", "all", "--reason", "r"), 3),
        (("opt-out", PHONE, "--scope", "line", "--reason", "r"), 2),
        (("opt-out", PHONE, "--scope", "line", "--value", "recruitin", "--reason", "r"), 2),
        (("opt-out", PHONE, "--scope", "all", "--value", "x", "--reason", "r"), 2),
        (("opt-out", PHONE, "--scope", "all", "--reason", " "), 2),
        (("opt-out", PHONE, "--scope", "all", "--reason", "r", "--at", "2999-01-01"), 2),
    ],
)
def test_what_cannot_be_done_says_so_and_records_nothing(desk: Desk, words: tuple[str, ...], code: int) -> None:
    assert desk("contacts", *words).exit_code == code
    assert desk.in_force(PHONE) is None


def test_an_engagement_that_could_not_be_told_is_named_and_sends_nothing_all_the_same(desk: Desk) -> None:
    desk.engages("app-1")
    desk.engages("app-2")
    given = desk("contacts", "opt-out", PHONE, "--scope", "all", "--reason", "r", "--json")
    result = json.loads(given.stdout)
    assert given.exit_code == 5, "Temporal did not answer"
    assert result["not_told"] == ["engagement:acme:app-1", "engagement:acme:app-2"]
    assert desk.in_force(PHONE) is OptOutScope.ALL
    open_ones = json.loads(desk("contacts", "show", PHONE, "--json").stdout)["engagements"]
    assert [one["reference"] for one in open_ones] == ["app-1", "app-2"]


def test_an_opt_out_that_covers_nothing_open_tells_nobody(desk: Desk) -> None:
    desk.engages("app-1")
    given = desk("contacts", "opt-out", PHONE, "--scope", "tenant", "--value", "globex", "--reason", "r", "--json")
    assert (given.exit_code, json.loads(given.stdout)["not_told"]) == (0, [])


def test_a_file_is_recorded_whole_and_may_be_given_again(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "stops.csv"
    file.write_text(
        f"phone;scope;value;source;at\n{PHONE};line;recruiting;letter;2026-01-05T10:00:00Z\n06 8765 4321;;;;\n",
        encoding="utf-8",
    )
    words = ("contacts", "import-opt-outs", str(file), "--scope", "all", "--region", "NL", "--reason", "old list")
    assert desk(*words, "--check").exit_code == 0
    assert desk.in_force(OTHER) is None, "checking records nothing"
    assert desk(*words).exit_code == 0
    assert desk(*words).exit_code == 0
    assert (desk.in_force(PHONE), desk.in_force(OTHER)) == (OptOutScope.LINE, OptOutScope.ALL)
    record = json.loads(desk("contacts", "show", PHONE, "--json").stdout)["record"]
    (out,) = record["opt_outs"]
    assert (out["source"].split(": ")[1], out["at"]) == ("letter", "2026-01-05T10:00:00Z")


def test_a_file_with_mistakes_tells_every_one_of_them_and_records_nothing(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "stops.csv"
    file.write_text(
        "phone,scop,value,at\n"
        f"{PHONE},all,,\n"
        "12,all,,\n"
        f"{OTHER},all,,yesterday\n"
        f"{OTHER},all,,2999-01-01T00:00:00Z\n"
        f"{OTHER},all,,,too,many\n",
        encoding="utf-8",
    )
    given = desk("contacts", "import-opt-outs", str(file), "--reason", "old list")
    text = " ".join(given.output.split())
    assert given.exit_code == 2
    for told in (
        ":1: scop: no such column; did you mean",
        ":3: phone:",
        ":4: at:",
        ":5: at: lies in the future",
        ":6:",
    ):
        assert told in text, text
    assert "12," not in text
    assert desk.in_force(PHONE) is None


def test_rows_that_reach_nowhere_are_mistakes_with_their_lines(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "stops.csv"
    file.write_text(f"phone,scope,value\n{PHONE},line,nowhere\n{OTHER},,\n{OTHER},all,\n", encoding="utf-8")
    given = desk("contacts", "import-opt-outs", str(file), "--reason", "old list")
    text = " ".join(given.output.split())
    assert given.exit_code == 2
    assert ":2: value: no such line" in text
    assert ":3: scope: missing" in text
    assert desk.in_force(OTHER) is None


def test_the_page_names_the_words_that_stop_and_how_an_account_gets_its_own() -> None:
    page = (EXAMPLES.parent / "docs" / "contacts.md").read_text(encoding="utf-8")
    words = StopWords()
    assert [word for word in sorted(words.stopping() | words.starting()) if f"`{word}`" not in page] == []
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    options = yaml.safe_load(example)["accounts"][0]["options"]
    read = RecruboSettings.model_validate(options).stop_words
    assert (read.is_stop("Afmelden!"), read.is_start("aanmelden"), read.is_stop("parar")) == (True, True, True)
    having = [settings for settings in (MetaSettings, TruoraSettings) if options.keys() <= settings.model_fields.keys()]
    assert having == [MetaSettings], "the page names who has them"


# the tenant's system


def kept(desk: Desk, *references: str, final: bool = True) -> list[str]:
    """Notices that were not taken."""

    async def work(stores: Stores) -> list[str]:
        made = []
        for reference in references:
            settlement = Settlement(
                outcome=EngagementOutcome.COMPLETED, rule="r", reason="answered", at=NOW, answers={"city": "Utrecht"}
            )
            result = EngagementResult(tenant="acme", reference=reference, settlement=settlement, sends=1)
            notice = AtsNotice(event_id=f"e:{reference}", event_type="engagement.closed", result=result, at=NOW)
            failure = SendFailure(code="503", reason="ATS of tenant acme is down")
            later = NOW + timedelta(days=30_000)
            await stores.letters.failed(notice, failure, attempt=3, gives_up_at=later, final=final)
            made.append(notice.event_id)
        return made

    return desk.within(work)


def test_undelivered_notices_are_listed_without_answers_and_sent_once_more_by_hand(desk: Desk) -> None:
    first, second = kept(desk, "app-1", "app-2")
    listed = desk("ats", "list", "--undelivered", "--tenant", "acme")
    assert first in listed.stdout
    assert "Utrecht" not in listed.stdout
    desk.heard.endings = [None, ProviderUnavailable("still down")]
    replayed = desk("ats", "replay", first, second, "--tenant", "acme")
    assert replayed.exit_code == 1
    assert [notice.event_id for notice in desk.heard.notices] == [first]
    left = json.loads(desk("ats", "list", "--undelivered", "--tenant", "acme", "--json").stdout)
    assert [one["event_id"] for one in left] == [second]
    assert desk("ats", "replay", "--all", "--tenant", "acme").exit_code == 0
    assert [notice.event_id for notice in desk.heard.notices] == [first, second]
    assert desk("ats", "replay", first, "--tenant", "acme").exit_code == 3, "it is not undelivered any more"


def test_all_leaves_out_what_is_still_tried_by_itself(desk: Desk) -> None:
    kept(desk, "app-1", final=False)
    assert desk("ats", "replay", "--all", "--tenant", "acme").exit_code == 0
    assert desk.heard.notices == []
    assert desk("ats", "replay", "--tenant", "acme").exit_code == 2, "neither a notice nor --all"


def test_another_tenants_notice_is_not_there(desk: Desk) -> None:
    (event,) = kept(desk, "app-1")
    assert desk("ats", "replay", event, "--tenant", "globex").exit_code == 3
    assert desk.heard.notices == []


def test_what_the_system_told_is_listed_with_what_became_of_it(desk: Desk) -> None:
    async def work(stores: Stores) -> None:
        telling = AtsTelling(status=AtsWord.REQUISITION_CLOSED, job="job-88", reason="filled", actor="ats")
        await stores.told.tell("acme", "m-1", telling, NOW)
        (one,) = await stores.told.take(NOW, 1)
        await stores.told.understood(one.number, telling)

    desk.within(work)
    listed = desk("ats", "received", "--tenant", "acme")
    assert "job job-88" in listed.stdout
    assert desk("ats", "received", "--tenant", "acme", "--state", "late").stdout.strip() == "nothing was told"
