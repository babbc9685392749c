"""A crowd's engagements are such as the product makes."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, select
from temporalio.api.enums.v1 import EventType
from temporalio.worker import Worker

from bench.crowd import Member, begin, enrolled, phone, reference, talk_of
from bench.ground import TENANT, Ground
from domain import names
from domain.contacts import phone_alias
from domain.ids import ENGAGEMENTS_QUEUE, send_key
from domain.sends import LedgerState
from domain.snapshot import EngagementSnapshot
from domain.state import Stage
from runtime.dev_server import DevServer
from sandbox.personas import SUFFIXES
from store.candidate_keys import NOBODY
from store.stores import Stores
from store.tables import metadata
from workflows import search_attributes
from workflows.engagement import EngagementWorkflow

FEW = 3


def counts(connection: Connection) -> dict[str, dict[str, int]]:
    """How many rows of each table belong to each person."""
    of_people = [table for table in metadata.sorted_tables if "contact_id" in table.c]
    found: dict[str, dict[str, int]] = {}
    for table in of_people:
        for contact_id in connection.execute(select(table.c.contact_id).where(table.c.contact_id != NOBODY)).scalars():
            its = found.setdefault(contact_id, {})
            its[table.name] = its.get(table.name, 0) + 1
    return found


async def is_complete(stores: Stores, member: Member) -> bool:
    """Whether the store's own methods find all of it."""
    its, talk = member.engagement, member.talk
    row = await stores.registry.get(TENANT, its.reference)
    assert row is not None
    assert (row.workflow_id, row.contact_id, row.outcome) == (talk.workflow_id, its.contact_id, None)
    assert await stores.contacts.find([phone_alias(its.candidate.phone)]) == its.contact_id
    sent = await stores.ledger.find(send_key(talk.workflow_id, "opening", 1))
    assert sent is not None
    assert (sent.state, sent.thread_id, sent.run_id) == (LedgerState.SENT, talk.thread_id, talk.run_id)
    key = await stores.data_keys.key_for_workflow(talk.workflow_id)
    return (await stores.data_keys.open(key.id)).owner.contact_id == its.contact_id


def test_nobody_in_a_crowd_has_a_number_that_does_something_of_its_own() -> None:
    assert not any(phone(number).endswith(suffix) for number in range(1000) for suffix in SUFFIXES)
    assert len({phone(number) for number in (0, 1, 9, 10, 99_999)}) == 5


@pytest.mark.server
async def test_a_crowd_waits_as_if_each_had_come_there_by_itself(tmp_path: Path) -> None:
    async with await DevServer.start(search_attributes=search_attributes.ALL) as temporal:
        ground = Ground(tmp_path)
        async with ground.stores() as stores:
            client = await ground.client(stores, temporal.address)
            members = await enrolled(ground, stores, client, [talk_of(number) for number in range(FEW)], sent=True)
            assert [await is_complete(stores, member) for member in members] == [True] * FEW
            first, *others = (await stores.database.read(counts)).values()
            assert others == [first] * (FEW - 1), "each has as many rows as the one that the product made"
            await begin(client, members)
            async with Worker(client, task_queue=ENGAGEMENTS_QUEUE, workflows=[EngagementWorkflow]):
                for number in range(FEW):
                    handle = client.get_workflow_handle(f"engagement:{TENANT}:{reference(number)}")
                    seen = await handle.query(names.SNAPSHOT, result_type=EngagementSnapshot)
                    assert (seen.stage, seen.hold) == (Stage.AWAITING_ANSWER, None)
                    assert seen.until is not None
                    told = [event.event_type async for event in handle.fetch_history_events()]
                    assert EventType.EVENT_TYPE_TIMER_STARTED in told
                    assert EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES not in told, "it was findable before"
