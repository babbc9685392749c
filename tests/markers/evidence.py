"""What the house leaves behind: everything that can be read without a key, and what a key opens."""

import asyncio
import os
import re
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import Message
from sqlalchemy import Connection, select
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
    QueryWorkflowRequest,
)

from runtime.codec import ENCODING
from runtime.keyed_codec import key_id_of, unseal
from store.candidate_keys import PURPOSE, DataKey, KeyKind, KeyOwner
from store.keys import KEY_BYTES
from store.resealing import PLACES
from store.tables import keys, metadata
from store.veil import VeiledText, VeiledTies
from tests.markers.house import House
from tests.postgres import conninfo

METADATA = "__temporal_workflow_metadata"
"""The query that shows current details, as Temporal UI asks it."""


@dataclass(frozen=True)
class Held:
    """Bytes, and where they are."""

    place: str
    data: bytes


@dataclass
class Evidence:
    """All of it at one moment."""

    plain: list[Held]
    """What is read without a key, sealed payloads among it as they are."""
    payloads: list[tuple[str, Payload]]
    """Every payload of Temporal's, with its place."""
    opened: list[Held]
    """What opens with the master key."""
    audit: list[Held]
    """What the audit keys open: part of ``opened``."""


async def gather(house: House, *, ask_workers: bool = True) -> Evidence:
    """Collect everything. ``ask_workers`` also asks each workflow for what Temporal UI shows of it."""
    messages = [told async for told in _told_by_temporal(house, ask_workers=ask_workers)]
    plain = [Held(place, message.SerializeToString()) for place, message in messages]
    plain += [Held(path.name, path.read_bytes()) for path in house.logs]
    plain.append(Held("Temporal's log", house.server.log.read_bytes()))
    plain += [Held(url, (await house.rest.get(url)).content) for url in house.metrics]
    plain.append(Held("addresses asked for", "\n".join(map(_without_the_one, house.addresses.asked)).encode()))
    plain += [Held(f"screen: {who}", text.encode()) for who, text in house.said.items()]
    plain += await asyncio.to_thread(lambda: list(_files(house)))
    payloads = [(place, one) for place, message in messages for one in _payloads_in(message)]
    ring = await house.stores.database.read(lambda connection: _data_keys(connection, house))
    opened, audit = [], []
    for place, payload in payloads:
        key = ring.get(key_id_of(payload))
        if payload.metadata.get("encoding") != ENCODING or key is None:
            continue
        inner = unseal(key, payload)
        held = Held(place, inner.data)
        opened.append(held)
        if key.owner.kind is KeyKind.AUDIT:
            audit.append(held)
    opened += await house.stores.database.read(lambda connection: list(_opened_rows(connection, house)))
    return Evidence(plain, payloads, opened, audit)


def _without_the_one(address: str) -> str:
    """An address, but for the one query in which Recrubo wants the number: a thread is found by nothing else."""
    return re.sub(r"(?<=/recrubo/public/v2/message-threads\?)\S+", "…", address)


async def _told_by_temporal(house: House, *, ask_workers: bool) -> AsyncIterator[tuple[str, Message]]:
    """Histories, what describes a run, what the lists show, and what its worker says of it."""
    service, namespace = house.client.workflow_service, house.client.namespace
    listed = await service.list_workflow_executions(ListWorkflowExecutionsRequest(namespace=namespace, page_size=1000))
    for run in listed.executions:
        name, its = run.execution.workflow_id, run.execution
        yield f"list: {name}", run
        describe = DescribeWorkflowExecutionRequest(namespace=namespace, execution=its)
        yield f"description: {name}", await service.describe_workflow_execution(describe)
        token = b""
        while True:
            wanted = GetWorkflowExecutionHistoryRequest(namespace=namespace, execution=its, next_page_token=token)
            page = await service.get_workflow_execution_history(wanted)
            for event in page.history.events:
                yield f"history: {name} event {event.event_id}", event
            token = page.next_page_token
            if not token:
                break
        if ask_workers:
            asked = QueryWorkflowRequest(
                namespace=namespace,
                execution=WorkflowExecution(workflow_id=name, run_id=its.run_id),
                query=WorkflowQuery(query_type=METADATA),
            )
            yield f"metadata: {name}", await service.query_workflow(asked)


def _payloads_in(message: Message) -> Iterator[Payload]:
    """Every payload anywhere in a message."""
    if isinstance(message, Payload):
        yield message
        return
    for _, value in message.ListFields():
        for one in _messages_in(value):
            yield from _payloads_in(one)


def _messages_in(value: object) -> Iterator[Message]:
    """The messages that a field holds: one, many, or those of a map."""
    match value:
        case Message():
            yield value
        case str() | bytes():
            return
        case Mapping():
            yield from (one for one in value.values() if isinstance(one, Message))
        case Iterable():
            yield from (one for one in value if isinstance(one, Message))


def _files(house: House) -> Iterator[Held]:
    """Databases as they lie on the disk, and as a dump shows them."""
    for database in ("temporal.sqlite3", "rapport.sqlite3"):
        for path in sorted(house.directory.glob(f"{database}*")):
            yield Held(path.name, path.read_bytes())
    if house.store_url.startswith("sqlite"):
        yield Held("dump of the store", dump_of(Path(house.store_url.removeprefix("sqlite:///"))))
    else:
        command = ["pg_dump", "--inserts", f"--dbname={conninfo(house.store_url)}"]
        done = subprocess.run(command, capture_output=True, check=True, env=dict(os.environ))
        yield Held("dump of the store", done.stdout)


def dump_of(file: Path) -> bytes:
    """A SQLite database as text."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        return "\n".join(connection.iterdump()).encode("utf-8", "surrogateescape")


def wrapped_keys(connection: Connection) -> dict[str, bytes]:
    """The candidates' keys as they stand in the store, wrapped, by their ids."""
    c = keys.c
    wanted = select(c.id, c.wrapped).where(c.wrapped.is_not(None), c.purpose == KeyKind.CONTACT.value)
    return {key_id: bytes(wrapped) for key_id, wrapped in connection.execute(wanted)}


def _data_keys(connection: Connection, house: House) -> dict[str, DataKey]:
    """Every key that whoever has the master key can have."""
    found = {}
    for row in connection.execute(select(keys).where(keys.c.wrapped.is_not(None))).mappings():
        secret = house.keys.open(bytes(row["wrapped"]), PURPOSE)[-KEY_BYTES:]
        owner = KeyOwner(KeyKind(row["purpose"]), row["tenant"], row["contact_id"] or "")
        found[row["id"]] = DataKey(row["id"], owner, AESGCM(secret))
    return found


def _opened_rows(connection: Connection, house: House) -> Iterator[Held]:
    """What the store seals under the master key itself."""
    for place in PLACES:
        for row in connection.execute(select(place.table)).mappings():
            sealed = row[place.name.partition(".")[2]]
            if sealed:
                yield Held(place.name, house.keys.open(bytes(sealed), place.purpose(row)))
    for table in metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, VeiledText | VeiledTies):
                for text in connection.execute(select(column)).scalars():
                    yield Held(f"{table.name}.{column.name}", (text or "").encode())
