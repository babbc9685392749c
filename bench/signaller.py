"""Bare signals at a steady rate, in a process of their own: ``python -m bench.signaller WANTED ANSWERS``.

What the gateway's way is held against: the same facts, sealed alike, straight from a client to the workflow.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from temporalio.converter import WorkflowSerializationContext

from domain import names
from domain.contacts import Alias, AliasKind
from domain.events import ProviderEvent, ProviderEvents, TextReceived, Ties
from runtime.processes import open_process
from runtime.settings import load_settings


@dataclass(frozen=True)
class Bare:
    """One signal: when it is due, to whom, and the key of its fact."""

    at: float
    workflow_id: str
    thread_id: str
    key: str
    words: str


async def signalled(signals: list[Bare]) -> dict[str, float]:
    """Send them all; returns when each was sent, by its key."""
    sent: dict[str, float] = {}
    async with open_process(load_settings()) as process:

        async def signal(one: Bare) -> None:
            alias = Alias(kind=AliasKind.THREAD, value=one.thread_id, scope="recrubo")
            event = ProviderEvent(
                key=one.key,
                occurred_at=datetime.now(UTC),
                ties=Ties(thread_id=one.thread_id),
                sender=(alias,),
                body=TextReceived(text=one.words),
            )
            sent[one.key] = time.time()
            handle = process.client.get_workflow_handle(one.workflow_id)
            await handle.signal(names.PROVIDER_EVENTS, ProviderEvents(events=(event,)))

        for workflow_id in {one.workflow_id for one in signals}:  # its key is read before the clock starts
            its = WorkflowSerializationContext(namespace=process.client.namespace, workflow_id=workflow_id)
            await process.client.data_converter.with_context(its).encode([""])
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []

        def begin(one: Bare) -> None:
            tasks.append(loop.create_task(signal(one)))

        for one in signals:
            loop.call_at(loop.time() + one.at, begin, one)
        await asyncio.sleep(signals[-1].at + 0.5)
        await asyncio.gather(*tasks)
    return sent


def main(wanted: Path, answers: Path) -> None:
    """Signal as one file wants; write when each was sent, by its key, into the other."""
    signals = [Bare(**one) for one in json.loads(wanted.read_text())]
    answers.write_text(json.dumps(asyncio.run(signalled(signals))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
