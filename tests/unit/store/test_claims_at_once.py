"""Several workers and one send key: one may call, whoever dies when."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from domain.errors import OutcomeUnknown
from domain.sends import LedgerState, SendClaim
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.store.samples import A_PHONE, NOON, a_send

Claimer = subprocess.Popen[str]
StartClaimer = Callable[..., Claimer]
ROOT = Path(__file__).parents[3]


@pytest.fixture
async def contact_id(stores: Stores) -> str:
    return await stores.contacts.resolve([A_PHONE])


@pytest.fixture
def start(url: str) -> Iterator[StartClaimer]:
    """Starts claimers that are ready to claim, and ends them."""
    with ExitStack() as running:

        def started(contact_id: str, mode: str = "normal") -> Claimer:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.unit.store.claimer", url, contact_id, mode],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield started


def _hear(process: Claimer) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _go(process: Claimer) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.mark.parametrize("attempts_before", [0, 1])
async def test_of_many_tasks_in_several_rooms_one_gets_the_claim(
    stores: Stores, url: str, keys: KeyRing, contact_id: str, attempts_before: int
) -> None:
    for _ in range(attempts_before):
        earlier = await stores.ledger.claim(a_send(contact_id))
        await stores.ledger.settle(earlier, LedgerState.NOT_SENT, None, None, NOON)
    async with Stores.open(url, keys) as elsewhere:
        rooms = itertools.cycle([stores, elsewhere])
        answers = await asyncio.gather(
            *(next(rooms).ledger.claim(a_send(contact_id)) for _ in range(16)), return_exceptions=True
        )
    granted = [answer.attempt for answer in answers if isinstance(answer, SendClaim)]
    assert granted == [attempts_before + 1]
    assert sum(isinstance(answer, OutcomeUnknown) for answer in answers) == 15


async def test_of_several_processes_one_gets_the_claim(start: StartClaimer, contact_id: str) -> None:
    claimers = [start(contact_id) for _ in range(3)]
    assert [_hear(claimer) for claimer in claimers] == ["ready"] * 3
    for claimer in claimers:
        _go(claimer)
    assert sorted(_hear(claimer) for claimer in claimers) == ["OutcomeUnknown"] * 2 + ["granted 1"]


async def test_a_worker_killed_after_its_claim_leaves_an_unknown_outcome_behind(
    stores: Stores, start: StartClaimer, contact_id: str
) -> None:
    claimer = start(contact_id)
    assert _hear(claimer) == "ready"
    _go(claimer)
    assert _hear(claimer) == "granted 1"
    claimer.kill()
    claimer.wait()
    with pytest.raises(OutcomeUnknown):
        await stores.ledger.claim(a_send(contact_id))
    entry = await stores.ledger.find(a_send(contact_id).key)
    assert entry is not None
    assert (entry.state, entry.attempt) == (LedgerState.CALLING, 1)


async def test_a_worker_killed_before_its_claim_is_committed_leaves_nothing_behind(
    stores: Stores, start: StartClaimer, contact_id: str
) -> None:
    claimer = start(contact_id, "before-commit")
    assert _hear(claimer) == "ready"
    _go(claimer)
    assert _hear(claimer) == "inside"
    claimer.kill()
    claimer.wait()
    assert (await stores.ledger.claim(a_send(contact_id))).attempt == 1
