"""A process that claims one send, for tests that race such processes and kill them.

``python -m tests.unit.store.claimer URL CONTACT MODE``: prints ``ready``, waits for a line, claims, prints how that
ended and waits for another line. In mode ``before-commit`` it stops inside the transaction and prints ``inside``.
"""

import asyncio
import sys
import threading

from sqlalchemy import Connection

from domain.errors import SendError
from store import ledger
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.store.samples import a_send

KEYS = KeyRing(bytes(32), bytes(range(32)))


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _stop_before_commit() -> None:
    claim = ledger._claim

    def claim_and_stop(connection: Connection, *arguments: object) -> object:
        claim(connection, *arguments)  # type: ignore[arg-type]  # handed through as they came
        _say("inside")
        threading.Event().wait()
        raise AssertionError

    ledger._claim = claim_and_stop  # type: ignore[assignment]  # never returns


async def _main(url: str, contact_id: str, mode: str) -> None:
    if mode == "before-commit":
        _stop_before_commit()
    async with Stores.open(url, KEYS) as stores:
        _say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        try:
            claim = await stores.ledger.claim(a_send(contact_id))
        except SendError as error:
            _say(type(error).__name__)
        else:
            _say(f"granted {claim.attempt}")
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
