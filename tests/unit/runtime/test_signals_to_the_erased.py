"""For a person who was erased nothing can be sealed any more: whoever tells many goes on with the others."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest
from temporalio.client import Client

from domain.contacts import ContactChange, ContactFree, OptOut, OptOutScope
from domain.errors import Erased, NotFound, RapportError
from domain.events import ProviderEvents
from domain.gates import GateDecision, GateVerdict
from gateway.relay import Handover, TemporalSignaller
from runtime.gates import TemporalGates
from runtime.queued import TemporalWaiting
from starter.engine import Engine

GONE = "engagement:acme:app-1"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
OPENED = GateDecision(gate="gate:template:meta:intake:nl", verdict=GateVerdict.OPEN, reason="approved", at=NOW)
CHANGE = ContactChange(key="c-1", opt_out=OptOut(scope=OptOutScope.ALL, source="by hand", at=NOW))


@pytest.fixture(params=[Erased("the person was erased"), NotFound("no such engagement")], ids=["erased", "unknown"])
def client(request: pytest.FixtureRequest) -> Client:
    """Temporal's client, whose codec has no key for this engagement."""
    error: RapportError = request.param

    async def signal(*args: object, **more: object) -> None:
        raise error

    handle = SimpleNamespace(signal=signal)
    return cast("Client", SimpleNamespace(get_workflow_handle=lambda workflow_id: handle))


async def test_a_gate_that_opens_counts_it_as_gone(client: Client) -> None:
    assert not await TemporalGates(client).decide(GONE, OPENED)


async def test_who_makes_room_for_it_is_not_kept(client: Client) -> None:
    await TemporalWaiting(client).tell_free(GONE, ContactFree(workflow_id=GONE))


async def test_events_for_it_are_late(client: Client) -> None:
    assert await TemporalSignaller(client).signal(GONE, ProviderEvents(events=())) is Handover.CLOSED


async def test_an_opt_out_finds_it_over(client: Client) -> None:
    assert not await Engine(client).contact_changed(GONE, CHANGE)
