"""What leaves for Temporal is sealed, wherever in a history it ends up."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer, Worker

from domain.errors import SetupError
from runtime.codec import ENCODING, AesGcmCodec
from store.keys import KeyRing
from tests.unit.runtime.conftest import KEYS, sealing_plugin
from tests.unit.runtime.tiny_activities import tiny_activity, tiny_failure
from tests.unit.runtime.tiny_workflow import QUEUE, TinyWorkflow

MARKER = "Gerónima Marker 3001234567"

payloads = st.builds(
    Payload, metadata=st.dictionaries(st.text(max_size=8), st.binary(max_size=8), max_size=3), data=st.binary()
)


@given(st.lists(payloads, max_size=4))
async def test_what_is_sealed_opens_to_the_same_and_does_not_show_it(given_payloads: list[Payload]) -> None:
    codec = AesGcmCodec(KEYS)

    sealed = await codec.encode(given_payloads)

    assert await codec.decode(sealed) == given_payloads
    for payload, original in zip(sealed, given_payloads, strict=True):
        assert payload.metadata["encoding"] == ENCODING
        assert payload.metadata["kid"] == KEYS.current_id.encode()
        assert len(original.data) < 4 or original.data not in payload.data


async def test_equal_payloads_are_sealed_differently_every_time() -> None:
    first, second = await AesGcmCodec(KEYS).encode([Payload(data=b"same"), Payload(data=b"same")])

    assert first.data != second.data


@pytest.mark.parametrize("encoding", [b"json/plain", b"binary/null", b"somebody/elses"])
async def test_an_encoding_that_is_not_ours_passes_through(encoding: bytes) -> None:
    foreign = Payload(metadata={"encoding": encoding}, data=b"as it was")

    assert await AesGcmCodec(KEYS).decode([foreign, Payload(data=b"bare")]) == [foreign, Payload(data=b"bare")]


async def test_a_payload_under_a_key_that_we_do_not_have_names_the_key() -> None:
    other = KeyRing(os.urandom(32), os.urandom(32))
    sealed = await AesGcmCodec(other).encode([Payload(data=b"x")])

    with pytest.raises(SetupError, match=other.current_id):
        await AesGcmCodec(KEYS).decode(sealed)


async def test_a_rotated_key_still_opens_what_it_sealed() -> None:
    old, new, pepper = os.urandom(32), os.urandom(32), os.urandom(32)
    sealed = await AesGcmCodec(KeyRing(old, pepper)).encode([Payload(data=b"old")])
    rotated = KeyRing(masters={"old": old, "new": new}, current="new", pepper=pepper)

    assert await AesGcmCodec(rotated).decode(sealed) == [Payload(data=b"old")]


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
async def test_altered_bytes_are_refused(where: int, change: int) -> None:
    codec = AesGcmCodec(KEYS)
    (sealed,) = await codec.encode([Payload(data=b"precious")])
    raw = bytearray(sealed.data)
    raw[where % len(raw)] ^= change
    sealed.data = bytes(raw)

    with pytest.raises(SetupError):
        await codec.decode([sealed])


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01short"])
async def test_bytes_that_are_cut_are_refused(data: bytes) -> None:
    with pytest.raises(SetupError):
        await AesGcmCodec(KEYS).decode([Payload(metadata={"encoding": ENCODING}, data=data)])


async def test_what_we_sealed_for_something_else_is_not_opened_as_a_payload() -> None:
    stolen = Payload(metadata={"encoding": ENCODING}, data=KEYS.seal(Payload(data=b"x").SerializeToString(), "inbox"))

    with pytest.raises(SetupError):
        await AesGcmCodec(KEYS).decode([stolen])


async def played(client: Client, workflow_id: str) -> WorkflowHistory:
    """The raw history of a run that had the marker in every payload."""
    async with Worker(client, task_queue=QUEUE, workflows=[TinyWorkflow], activities=[tiny_activity, tiny_failure]):
        handle = await client.start_workflow(
            TinyWorkflow.run,
            MARKER,
            id=workflow_id,
            task_queue=QUEUE,
            memo={"kept": MARKER},
            static_summary=MARKER,
            static_details=MARKER,
        )
        assert await handle.execute_update(TinyWorkflow.ask, MARKER) == MARKER + "-updated"
        await handle.signal(TinyWorkflow.tell, MARKER)
        assert await handle.result() == MARKER + "-result"
        return await handle.fetch_history()


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_of_a_marker_can_be_read_in_a_real_history(client: Client) -> None:
    history = await played(client, "codec-marker")

    raw = b"".join(event.SerializeToString() for event in history.events)
    assert len(history.events) > 15
    assert raw.count(ENCODING) > 8
    for part in (MARKER.encode(), b"Marker", b"3001234567", "Gerónima".encode()):
        assert part not in raw


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_a_sealed_history_replays_with_the_same_plugin(client: Client) -> None:
    history = await played(client, "codec-replay")

    result = await Replayer(workflows=[TinyWorkflow], plugins=[sealing_plugin()]).replay_workflow(history)

    assert result.replay_failure is None
