"""Plays the operator: settles sends of unknown outcome by what really lies on the candidates' phones."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from temporalio.service import RPCError

from domain.calls import Command, ResolveSend
from domain.errors import EngineUnavailable, NotAllowed, NotFound, StoreUnavailable
from domain.sends import LedgerState
from domain.snapshot import EngagementSnapshot, SendView
from tests.chaos.fleet import Office
from tests.chaos.phones import Phones
from tests.chaos.script import Person

LOOK_S = 1.0
TENANT = "acme"


class Operator:
    """Looks every second who needs a person."""

    def __init__(self, office: Office, phones: Phones, people: Mapping[str, Person]) -> None:
        self._office, self._phones, self._people = office, phones, people
        self.settled: Counter[str] = Counter()
        self.unlisted: Counter[str] = Counter()
        """Sends that wait for a person and that the list of unknown sends does not show, by what the ledger says."""

    async def work(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(RPCError, RuntimeError, EngineUnavailable, StoreUnavailable):  # something is down just now
                await self._round()
            await asyncio.sleep(LOOK_S)

    async def _round(self) -> None:
        waiting = self._office.client.list_workflows("NeedsHuman = true AND ExecutionStatus = 'Running'")
        for run_id in [run.id async for run in waiting]:
            reference = run_id.rpartition(":")[2]
            if reference in self._people:
                await self._help(self._people[reference])

    async def _help(self, person: Person) -> None:
        view = await self._office.service.get(TENANT, person.reference)
        if view.snapshot is None or view.summary.outcome is not None or not view.snapshot.needs_human:
            return
        latest = _latest_unknown(view.snapshot)
        if latest is None:
            return
        listed = await self._office.service.sends(TENANT, unknown=True)
        entry = await self._office.stores.ledger.find(latest.key)
        if latest.key not in {one.key for one in listed}:
            state = entry.state if entry is not None else None
            if state not in (LedgerState.SENT, LedgerState.NOT_SENT):  # else it was settled between two looks
                self.unlisted[f"{latest.key} {state}"] += 1
        on_phone = [
            message
            for message in await self._phones.messages(person.phone)
            if message.provider == person.side and message.template == latest.template
        ]
        with suppress(NotAllowed, NotFound):  # an event settled it first
            await self._settle(
                person, latest, attempt=entry.attempt if entry is not None else 0, was_sent=bool(on_phone)
            )

    async def _settle(self, person: Person, send: SendView, *, attempt: int, was_sent: bool) -> None:
        """Each attempt is settled once: the answer to one that was tried again may be lost again."""
        which = f"{send.key[-60:].replace('/', '.')}-{attempt}"
        said = {"actor": "chaos operator", "reason": "looked at the phone"}
        if not was_sent and person.prefers_resend:
            await self._office.service.resend(TENANT, person.reference, Command(command_id=f"resend-{which}", **said))
            self.settled["sent once more"] += 1
            return
        command = ResolveSend(command_id=f"resolve-{which}", send_key=send.key, was_sent=was_sent, **said)
        await self._office.service.resolve_send(TENANT, person.reference, command)
        self.settled["was sent" if was_sent else "was not sent"] += 1


def _latest_unknown(snapshot: EngagementSnapshot) -> SendView | None:
    """The send that waits: the latest one of its step."""
    last = snapshot.sends[-1] if snapshot.sends else None
    return last if last is not None and last.send_state is LedgerState.UNKNOWN else None
