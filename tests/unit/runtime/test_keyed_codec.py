"""Which key seals what, what opens it, and what an erasure and a rotation leave behind."""

import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHistory
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    SerializationContext,
    WorkflowSerializationContext,
)
from temporalio.worker import Replayer, Worker

from domain.audit import AuditLine
from domain.errors import Erased, NotFound, PayloadTooLarge, SetupError
from runtime.codec import ENCODING, AesGcmCodec
from runtime.dev_server import DevServer
from runtime.keyed_codec import MOST_BYTES, KeyedCodec
from runtime.processes import temporal_plugin
from runtime.temporal import connect, data_converter
from store.candidate_keys import DataKeys, destroy_within
from store.keys import KeyRing
from store.registry import EngagementRow
from store.stores import Stores
from tests.unit.runtime.audited_workflow import QUEUE, AuditedWorkflow
from tests.unit.runtime.tiny_activities import tiny_activity, tiny_failure

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PEPPER = bytes(range(32))
OLD, NEW = b"o" * 32, b"n" * 32
KEYS = KeyRing(OLD, PEPPER)
ENGAGEMENT = "engagement:acme:a-1"
WORD = "Zebulon-marker"


def of(workflow_id: str) -> SerializationContext:
    return WorkflowSerializationContext(namespace="default", workflow_id=workflow_id)


def row(reference: str, contact_id: str) -> EngagementRow:
    return EngagementRow(
        tenant="acme",
        reference=reference,
        workflow_id=f"engagement:acme:{reference}",
        contact_id=contact_id,
        line="main",
        account="acme-meta",
        provider="meta",
        plan="intake",
        fingerprints={"all": "1"},
        created_at=NOON,
    )


@pytest.fixture
async def stores(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Stores]:
    file = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, file)
    async with Stores.open(f"sqlite:///{file}", KEYS) as opened:
        await opened.registry.register(row("a-1", "ct_1"))
        await opened.registry.register(row("a-2", "ct_2"))
        yield opened


def fresh(stores: Stores, ring: KeyRing = KEYS) -> DataKeys:
    """The keys as a process sees them that has just started."""
    return DataKeys(stores.database, ring)


def converter(stores: Stores, workflow_id: str = "") -> DataConverter:
    whole = data_converter(KeyedCodec(fresh(stores), KEYS))
    return whole.with_context(of(workflow_id)) if workflow_id else whole


def key_id(payload: Payload) -> str:
    return payload.metadata["kid"].decode()


async def test_a_candidates_payload_is_sealed_under_the_candidates_key(stores: Stores) -> None:
    keys = fresh(stores)
    (mine,) = await converter(stores, ENGAGEMENT).encode([WORD])
    (theirs,) = await converter(stores, "engagement:acme:a-2").encode([WORD])
    (gates,) = await converter(stores, "gate:line:main").encode([WORD])
    (nobodys,) = await converter(stores).encode([WORD])

    assert key_id(mine) == (await keys.key_for_contact("acme", "ct_1")).id
    assert key_id(theirs) == (await keys.key_for_contact("acme", "ct_2")).id
    assert key_id(gates) == key_id(nobodys) == (await keys.service_key()).id
    assert all(WORD.encode() not in one.data for one in (mine, theirs, gates, nobodys))


async def test_the_payload_of_an_activity_belongs_to_its_workflow(stores: Stores) -> None:
    context = ActivitySerializationContext(
        namespace="default",
        activity_id="1",
        activity_type="tiny",
        activity_task_queue=QUEUE,
        workflow_id=ENGAGEMENT,
        workflow_type="audited",
        is_local=False,
    )
    (sealed,) = await converter(stores).with_context(context).encode([WORD])
    assert key_id(sealed) == (await fresh(stores).key_for_contact("acme", "ct_1")).id


async def test_an_audit_line_is_sealed_under_the_tenants_audit_key_and_any_other_text_is_not(stores: Stores) -> None:
    line, text = await converter(stores, ENGAGEMENT).encode([AuditLine("waits for an answer"), "waits for an answer"])
    audit = await fresh(stores).audit_key("acme")

    assert key_id(line) == audit.id != key_id(text)
    (plain,) = await KeyedCodec(fresh(stores), KEYS).decode([line])
    assert plain == Payload(metadata={"encoding": b"json/plain"}, data=b'"waits for an answer"')


async def test_whatever_the_context_the_key_id_alone_opens(stores: Stores) -> None:
    sealed = await converter(stores, ENGAGEMENT).encode([WORD, AuditLine("why")])
    assert await converter(stores).decode(sealed) == [WORD, "why"]
    assert await converter(stores, "gate:line:main").decode(sealed) == [WORD, "why"]


async def test_after_the_erasure_only_the_audit_lines_open_and_nothing_more_is_sealed(stores: Stores) -> None:
    word, line = await converter(stores, ENGAGEMENT).encode([WORD, AuditLine("why")])
    await stores.database.write(lambda connection: destroy_within(connection, "ct_1", NOON))

    assert await converter(stores).decode([line]) == ["why"]
    with pytest.raises(Erased, match="person was erased"):
        await converter(stores).decode([word])
    with pytest.raises(Erased, match="erased"):
        await converter(stores, ENGAGEMENT).encode([WORD])


async def test_what_an_earlier_release_sealed_under_the_master_key_still_opens(stores: Stores) -> None:
    older = await data_converter(AesGcmCodec(KEYS)).encode([WORD, AuditLine("why")])
    assert await converter(stores, ENGAGEMENT).decode(older) == [WORD, "why"]


async def test_nothing_is_sealed_for_an_engagement_that_nobody_registered(stores: Stores) -> None:
    with pytest.raises(NotFound, match="not registered"):
        await converter(stores, "engagement:acme:nobody").encode([WORD])


async def test_a_payload_that_temporal_would_not_take_is_refused_before(stores: Stores) -> None:
    bound = converter(stores, ENGAGEMENT)
    (largest,) = await bound.encode(["x" * (MOST_BYTES - 100)])
    assert len(largest.SerializeToString()) < 2 * 1024 * 1024
    with pytest.raises(PayloadTooLarge, match="more than"):
        await bound.encode(["x" * MOST_BYTES])


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 5), slice(0, 20), slice(None, -1), slice(1, None)])
async def test_an_altered_payload_does_not_open_and_says_so(stores: Stores, cut: slice) -> None:
    (sealed,) = await converter(stores, ENGAGEMENT).encode([WORD])
    altered = Payload(metadata=dict(sealed.metadata), data=sealed.data[cut])
    with pytest.raises(SetupError, match="altered"):
        await KeyedCodec(fresh(stores), KEYS).decode([altered])


async def test_a_payload_does_not_open_under_the_name_of_another_key(stores: Stores) -> None:
    mine, why = await converter(stores, ENGAGEMENT).encode([WORD, AuditLine("why")])
    renamed = Payload(metadata={"encoding": ENCODING, "kid": why.metadata["kid"]}, data=mine.data)
    with pytest.raises(SetupError, match="altered"):
        await KeyedCodec(fresh(stores), KEYS).decode([renamed])


async def test_a_worker_without_the_key_says_which_one_it_lacks(stores: Stores) -> None:
    strange = Payload(metadata={"encoding": ENCODING, "kid": b"dk_elsewhere"}, data=bytes(40))
    with pytest.raises(SetupError, match="dk_elsewhere"):
        await KeyedCodec(fresh(stores), KEYS).decode([strange])


def payloads_in(message: Message, path: str = "") -> Iterator[tuple[str, Payload]]:
    """Every payload of a message with the names of the fields on its way."""
    if isinstance(message, Payload):
        yield path, message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        whole = list(value.values()) if field.message_type.GetOptions().map_entry else value
        for one in whole if isinstance(whole, list) or field.is_repeated else [whole]:
            if isinstance(one, Message):
                yield from payloads_in(one, f"{path}/{field.name}")


async def history_of(client: Client) -> WorkflowHistory:
    return await client.get_workflow_handle(ENGAGEMENT).fetch_history()


@pytest.mark.server
async def test_an_engagement_that_stays_open_over_a_rotation_and_is_then_erased(stores: Stores) -> None:
    """Three processes: one with the old master key, one with both, one with the new alone, which replays it all."""
    both = KeyRing(masters={"old": OLD, "new": NEW}, current="new", pepper=PEPPER)
    async with await DevServer.start() as server:
        first = await connect(temporal_plugin(fresh(stores), KEYS), address=server.address)
        await first.start_workflow(
            AuditedWorkflow.run,
            WORD,
            id=ENGAGEMENT,
            task_queue=QUEUE,
            memo={"kept": WORD},
            static_summary=AuditLine("why it began"),
            static_details=AuditLine("the whole why"),
        )
        middle = await connect(temporal_plugin(fresh(stores, both), both), address=server.address)
        async with Worker(
            middle, task_queue=QUEUE, workflows=[AuditedWorkflow], activities=[tiny_activity, tiny_failure]
        ):
            asked = middle.get_workflow_handle(ENGAGEMENT)
            assert await asked.execute_update("ask", WORD, result_type=str) == WORD + "-updated"
        assert await fresh(stores, both).rewrap() > 0

        ring = KeyRing(NEW, PEPPER)
        last_plugin = temporal_plugin(fresh(stores, ring), ring)
        last = await connect(last_plugin, address=server.address)
        async with Worker(
            last, task_queue=QUEUE, workflows=[AuditedWorkflow], activities=[tiny_activity, tiny_failure]
        ):
            told = last.get_workflow_handle(ENGAGEMENT, result_type=str)
            await told.signal("tell", "!")
            assert await told.result() == WORD + "!"
        history = await history_of(last)
        await Replayer(workflows=[AuditedWorkflow], plugins=[last_plugin]).replay_workflow(history)

    raw = b"".join(event.SerializeToString() for event in history.events)
    assert WORD.encode() not in raw
    assert b"why" not in raw
    keys = fresh(stores, ring)
    mine, audit = await keys.key_for_contact("acme", "ct_1"), await keys.audit_key("acme")
    found = [(path, payload) for event in history.events for path, payload in payloads_in(event)]
    audited = {path for path, payload in found if key_id(payload) == audit.id}
    assert audited == {"/user_metadata/summary", "/user_metadata/details"}
    assert {key_id(payload) for path, payload in found if path not in audited} == {mine.id}
    assert {"/activity_task_failed_event_attributes/failure/encoded_attributes"} <= {path for path, _ in found}

    await stores.database.write(lambda connection: destroy_within(connection, "ct_1", NOON))
    after = KeyedCodec(fresh(stores, ring), ring)
    lines = [payload for path, payload in found if path in audited]
    told_lines = {payload.data.decode().strip('"') for payload in await after.decode(lines)}
    assert told_lines == {"why it began", "the whole why", "why an activity", "why a pause", "why a wait"}
    for path, payload in found:
        if path not in audited:
            with pytest.raises(Erased):
                await after.decode([payload])
