"""Seals each payload under the key of whom it concerns: the candidate, the tenant's audit, or the service."""

import copy
import os
import re
from collections.abc import Sequence
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from domain.errors import NotFound, PayloadTooLarge, SetupError
from runtime.codec import ENCODING, AesGcmCodec, PayloadSealer
from runtime.payloads import AUDIT_MARK
from store.candidate_keys import PREFIX, DataKey, DataKeys

MOST_BYTES: Final = 2 * 1024 * 1024 - 16 * 1024
"""Temporal takes 2 MiB in one payload; the rest is for what it stores around it."""

_NONCE_BYTES: Final = 12
_UNPRINTABLE: Final = re.compile(rb"[^\x21-\x7e]")


class KeyedCodec(PayloadCodec, WithSerializationContext):
    """Temporal's payload codec over data keys. Which one seals follows from the workflow that the payload belongs to.

    ``older`` opens what releases before data keys sealed under a master key; it seals nothing. Decoding goes by the
    key id in the payload's metadata alone. Payloads with an encoding that is not ours pass through unchanged.
    """

    def __init__(self, keys: DataKeys, older: PayloadSealer) -> None:
        self._keys = keys
        self._older = AesGcmCodec(older)
        self._workflow_id = ""

    def with_context(self, context: SerializationContext) -> Self:
        """The codec for the payloads of one workflow; Temporal's client and worker ask for it before each use."""
        bound = copy.copy(self)
        bound._workflow_id = _workflow_of(context)  # noqa: SLF001 - a copy of this very class
        return bound

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal each payload, metadata included.

        Raises ``Erased`` for a person who was erased, ``PayloadTooLarge``, ``NotFound`` for an engagement that is not
        registered, and ``StoreUnavailable``.
        """
        return [await self._seal(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open what we sealed.

        Raises ``Erased`` where the person was erased, ``SetupError`` for a key that is not here and for altered
        bytes, and ``StoreUnavailable``.
        """
        return [await self._open(payload) for payload in payloads]

    async def _seal(self, payload: Payload) -> Payload:
        if AUDIT_MARK in payload.metadata:
            key = await self._keys.audit_key_for_workflow(self._workflow_id)
            payload = _without_mark(payload)
        else:
            key = await self._keys.key_for_workflow(self._workflow_id)
        return seal(key, payload)

    async def _open(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = key_id_of(payload)
        if not key_id.startswith(PREFIX):
            (opened,) = await self._older.decode([payload])
            return opened
        try:
            key = await self._keys.open(key_id)
        except NotFound as error:
            raise SetupError(f"a Temporal payload does not open: {error}") from error
        return unseal(key, payload)


def key_id_of(payload: Payload) -> str:
    """Which key sealed this payload, as it says itself; printable, so that a database and a log may be given it."""
    return _UNPRINTABLE.sub(b"?", payload.metadata.get("kid", b"")[:64]).decode("ascii")


def seal(key: DataKey, payload: Payload) -> Payload:
    """Encrypt and authenticate under this key. Raises ``PayloadTooLarge``."""
    data = payload.SerializeToString()
    if len(data) > MOST_BYTES:
        raise PayloadTooLarge(
            f"a payload of {len(data):,} bytes is more than the {MOST_BYTES:,} that Temporal takes: it was not sent"
        )
    nonce, kid = os.urandom(_NONCE_BYTES), key.id.encode()
    return Payload(metadata={"encoding": ENCODING, "kid": kid}, data=nonce + key.cipher.encrypt(nonce, data, kid))


def unseal(key: DataKey, payload: Payload) -> Payload:
    """Undo ``seal``. Raises ``SetupError`` for bytes that were altered or sealed under another key."""
    nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
    try:
        return Payload.FromString(key.cipher.decrypt(nonce, sealed, key.id.encode()))
    except (InvalidTag, ValueError, DecodeError):  # ValueError: too short for a nonce and a tag
        raise SetupError(
            f"a Temporal payload sealed under key {key.id!r} does not open: it was altered, or sealed otherwise"
        ) from None


def _workflow_of(context: SerializationContext) -> str:
    if isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
        return context.workflow_id or ""
    return ""


def _without_mark(payload: Payload) -> Payload:
    plain = Payload()
    plain.CopyFrom(payload)
    del plain.metadata[AUDIT_MARK]
    return plain
