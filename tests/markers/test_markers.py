"""Nothing of a person is read anywhere without a key, whatever happens to them; and once erased, not with one either.

Everybody is made of markers (``people``). They go through every flow, every failure and every act of an operator, in
the real processes (``house``, ``cases``); then all that was left behind is searched (``evidence``, ``search``).
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf import json_format
from temporalio.api.common.v1 import Payloads

from domain.model import JsonValue
from domain.outcomes import EngagementOutcome as Outcome
from tests.markers import evidence
from tests.markers.cases import Life
from tests.markers.evidence import Evidence, Held
from tests.markers.house import TENANT, House, open_house
from tests.markers.people import Person
from tests.markers.scenes import ENDS, STRANGERS, UNEXPLAINED
from tests.markers.search import Hit, hits_in

pytestmark = [pytest.mark.server, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@dataclass
class Record:
    """A whole life and what was found in it."""

    people: tuple[Person, ...]
    outcomes: dict[str, str | None]
    before: Evidence
    wrapped: dict[str, bytes]
    """The candidates' keys as they stood in the store before they were destroyed."""
    after: Evidence
    erased: dict[str, object] = field(default_factory=dict)
    last_words: list[Held] = field(default_factory=list)
    """Logs and files when every process had ended."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def record(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Record]:
    """Everything happens once; the tests look at what it left."""
    yield await live(Path(tmp_path_factory.mktemp("markers")))


async def live(directory: Path, store_url: str | None = None) -> Record:
    """Let everything happen, and everybody be erased."""
    async with open_house(directory, store_url) as house:
        life = Life(house)
        await life.happen()
        before = await evidence.gather(house)
        await _ask_the_codec_server(house, before)
        wrapped = await house.stores.database.read(evidence.wrapped_keys)
        erased = await _erase_everybody(house, life)
        after = await evidence.gather(house, ask_workers=False)
        outcomes = dict(life.outcomes)
    last_words = [Held(path.name, path.read_bytes()) for path in sorted(directory.iterdir()) if path.is_file()]
    written_by_us = ("later.yaml",)  # the plan of a test, and no trace
    last_words = [one for one in last_words if one.place not in written_by_us]
    return Record(life.people, outcomes, before, wrapped, after, erased, last_words)


async def _erase_everybody(house: House, life: Life) -> dict[str, object]:
    """Most as the tenant's system asks for it, two as operators type it: by reference, and by number."""
    by_reference, by_number, *others = life.people
    words = ("--reason", "asked to be forgotten", "--yes", "--json")
    typed: list[dict[str, JsonValue]] = [
        {"words": ["erase", by_reference.reference, "--tenant", TENANT, *words]},
        {"words": ["erase", "--phone", *words], "types": by_number.phone + "\n"},
    ]
    few = asyncio.Semaphore(4)

    async def ask(person: Person) -> tuple[str, object]:
        async with few:
            body = {"reason": "asked to be forgotten"}
            while True:
                answer = await house.post(f"/v1/contacts/{person.reference}/erase", dict(body))
                if answer.status_code == 200:
                    return person.reference, answer.json()["erased_at"]

    typing = asyncio.create_task(house.type(*typed))
    asked = await asyncio.gather(*(ask(person) for person in others))
    answers = await typing
    told = zip((by_reference.reference, by_number.reference), (one["code"] == 0 for one in answers), strict=True)
    return dict((*told, *asked))


async def _ask_the_codec_server(house: House, before: Evidence) -> None:
    """Temporal UI shows a payload of everybody, and what it should not."""
    shown = [payload for _, payload in before.payloads[:200]]
    body = json_format.MessageToJson(Payloads(payloads=shown))
    answer = await house.codec.post("/decode", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert hits_in("codec server", _decoded(answer.content)), "it opens what it is asked to"
    await house.codec.post("/decode", content=f"{{{STRANGERS[0].everything}".encode())


def _decoded(body: bytes) -> bytes:
    return b"\n".join(base64.b64decode(one["data"]) for one in json.loads(body)["payloads"] if "data" in one)


def found(held: list[Held], *, of_strangers: bool = True) -> list[str]:
    """What is found there, as lines that tell where."""
    hits: list[Hit] = []
    for one in held:
        hits += hits_in(one.place, one.data, of_strangers=of_strangers)
    return [str(hit) for hit in hits]


async def test_everybody_came_to_the_end_of_their_case(record: Record) -> None:
    expected: dict[str, str | None] = {person.reference: ENDS.get(person.case) for person in record.people}
    expected |= {one: Outcome.HANDED_OVER for one in UNEXPLAINED if record.outcomes[one] == Outcome.HANDED_OVER}
    assert record.outcomes == expected


async def test_without_a_key_nothing_of_anybody_is_read_anywhere(record: Record) -> None:
    assert found(record.before.plain) == []
    assert len(record.before.plain) > 1000, (
        "histories, lists, logs, files, metrics, addresses and screens were searched"
    )


async def test_with_the_keys_all_of_it_is_there_so_the_search_can_find(record: Record) -> None:
    everything = b"\n".join(one.data for one in record.before.opened)
    seen = {name for person in record.people for name, text in person.markers.items() if text.encode() in everything}
    assert seen == set(record.people[0].markers)
    asked = ("full name", "number, E.164", "e-mail", "address", "second variable", "opt-in evidence", "job wanted")
    missing = [
        (person.reference, name)
        for person in record.people
        for name in asked
        if person.markers[name].encode() not in everything
    ]
    assert missing == []


async def test_the_lines_of_the_audit_hold_nothing_of_anybody(record: Record) -> None:
    assert found(record.before.audit) == []
    assert len(record.before.audit) > 100


async def test_once_everybody_is_erased_the_master_key_opens_nothing_of_them(record: Record) -> None:
    assert all(record.erased.values())
    assert set(record.erased) == {person.reference for person in record.people}
    assert found(record.after.plain) == []
    assert found(record.after.opened, of_strangers=False) == []
    assert len(record.after.audit) > 100, "the lines of the audit still open"


async def test_the_keys_that_were_destroyed_are_nowhere_any_more(record: Record) -> None:
    files = [one for one in record.before.plain if "rapport.sqlite3" in one.place or "dump" in one.place]
    assert len(record.wrapped) >= len(record.people)
    lay = [key_id for key_id, wrapped in record.wrapped.items() if any(_lies(wrapped, one.data) for one in files)]
    assert lay == list(record.wrapped), "the search finds what is there"
    left = [
        (key_id, one.place)
        for key_id, wrapped in record.wrapped.items()
        for one in (*record.after.plain, *record.last_words)
        if not one.place.startswith(("history", "list", "description")) and _lies(wrapped, one.data)
    ]
    assert left == []


def _lies(wrapped: bytes, data: bytes) -> bool:
    """Whether a part of it lies there: all but its header, as it is or in hexadecimal, on one page or on two."""
    secret = wrapped[9:]
    half = len(secret) // 2
    parts = (secret[:half], secret[half:])
    return any(part in data or part.hex().encode() in data or part.hex().upper().encode() in data for part in parts)


async def test_the_last_words_of_every_process_hold_nothing_either(record: Record) -> None:
    assert found(record.last_words) == []
    assert {one.place for one in record.last_words} >= {"worker.log", "gateway.log", "codec-server.log", "sandbox.log"}


async def test_each_failure_was_told_in_a_log_so_that_silence_is_no_reason(record: Record) -> None:
    logs = {one.place: one.data.decode() for one in record.last_words if one.place.endswith(".log")}
    assert logs["worker.log"].count("ValueError") >= 4, "admission, request, reading, thread"
    assert "Task exception was never retrieved" in logs["worker.log"]
    assert "Failed deserializing signal input" in logs["worker.log"]
    assert "ValueError" in logs["gateway.log"]
    assert "operator_action" in logs["operator.log"]
