"""A minute after an erasure no process opens or seals anything of the person: worker, gateway and codec server."""

import gc
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import DataConverter, WorkflowSerializationContext

from domain.audit import ERASED_TEXT
from domain.errors import Erased
from runtime.codec_desk import CodecDesk
from runtime.codec_server import create_codec_app
from runtime.keyed_codec import KeyedCodec
from runtime.temporal import data_converter
from starter.codec_access import CodecEntrance
from starter.tokens import ServiceTokens
from store.candidate_keys import KEPT_SECONDS, DataKey, DataKeys, destroy_within
from store.stores import Stores
from tests.unit.starter.test_codec_access import ACME, TOKENS, WORD, sealed_in, shown
from tests.unit.starter.world import KEYS, NOW

ENGAGEMENT = "engagement:acme:a-1"
GONE = "gone"


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Process:
    """One process with its own memory of keys."""

    keys: DataKeys

    @property
    def converter(self) -> DataConverter:
        """What its Temporal client and its workers use for this engagement."""
        context = WorkflowSerializationContext(namespace="default", workflow_id=ENGAGEMENT)
        return data_converter(KeyedCodec(self.keys, KEYS)).with_context(context)

    async def works(self, payload: Payload) -> str:
        """A worker reads what a task brings and seals what it answers."""
        try:
            (word,) = await self.converter.decode([payload])
            await self.converter.encode([word])
        except Erased:
            return GONE
        return str(word)

    async def relays(self, _payload: Payload) -> str:
        """A gateway seals a signal for the engagement."""
        try:
            (sealed,) = await self.converter.encode([WORD])
        except Erased:
            return GONE
        return WORD if sealed.metadata["kid"] else ""

    async def shows(self, payload: Payload) -> str:
        """A codec server is asked by Temporal UI."""
        app = create_codec_app(CodecDesk(self.keys, KEYS), [], CodecEntrance(TOKENS, ServiceTokens([])))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://codec.example") as ask:
            body = json_format.MessageToJson(Payloads(payloads=[payload]))
            answer = await ask.post("/decode", content=body, headers={"authorization": f"Bearer {ACME}"})
        (told,) = shown(list(json_format.Parse(answer.content, Payloads()).payloads))
        return GONE if ERASED_TEXT in told else told.strip('"')


Use = Callable[[Process, Payload], Awaitable[str]]


@pytest.fixture
async def stores(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Stores]:
    file = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, file)
    async with Stores.open(f"sqlite:///{file}", KEYS) as opened:
        yield opened


def in_memory(key_id: str) -> int:
    """How often this key is anywhere in this Python, whoever holds it."""
    gc.collect()
    return sum(isinstance(one, DataKey) and one.id == key_id for one in gc.get_objects())


@pytest.mark.parametrize(
    "use", [Process.works, Process.relays, Process.shows], ids=["worker", "gateway", "codec server"]
)
async def test_a_minute_after_an_erasure_a_process_has_no_key_of_the_person(stores: Stores, use: Use) -> None:
    payload = (await sealed_in(stores)).mine
    key_id = payload.metadata["kid"].decode()
    stores.data_keys._kept.clear()  # the one who sealed it is another process
    clock = Clock()
    process = Process(DataKeys(stores.database, KEYS, clock=clock))
    assert await use(process, payload) == WORD
    assert in_memory(key_id) == 1
    await stores.database.write(lambda connection: destroy_within(connection, "ct_1", NOW))
    for _ in range(3):  # being used keeps it no longer
        clock.now += (KEPT_SECONDS - 0.1) / 3
        assert await use(process, payload) == WORD
    clock.now += 0.1
    assert await use(process, payload) == GONE
    assert in_memory(key_id) == 0
    assert KEPT_SECONDS <= 60
