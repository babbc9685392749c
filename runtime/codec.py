"""Seals every payload before it leaves for Temporal, and opens what comes back."""

from collections.abc import Sequence
from typing import Final, Protocol

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from domain.errors import SetupError

ENCODING: Final = b"binary/encrypted"
PURPOSE: Final = "temporal-payload"


class PayloadSealer(Protocol):
    """Keys that seal and open; ``store.keys.KeyRing`` is one. Who holds the keys decides which of them seals."""

    @property
    def current_id(self) -> str:
        """Id of the key that seals now; not secret, it stands beside what it sealed."""
        ...

    def seal(self, data: bytes, purpose: str) -> bytes:
        """Encrypt and authenticate; the result says by itself which key opens it."""
        ...

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Undo ``seal``. Raises ``SetupError`` when the key is not given here or the bytes were altered."""
        ...


class AesGcmCodec(PayloadCodec):
    """Temporal's payload codec over a sealer. Payloads with an encoding that is not ours pass through unchanged."""

    def __init__(self, sealer: PayloadSealer) -> None:
        self._sealer = sealer

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal each payload, metadata included."""
        return [self._seal(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open what we sealed. Raises ``SetupError`` for a key that is not given here and for altered bytes."""
        return [self._open(payload) for payload in payloads]

    def _seal(self, payload: Payload) -> Payload:
        sealed = self._sealer.seal(payload.SerializeToString(), PURPOSE)
        return Payload(metadata={"encoding": ENCODING, "kid": self._sealer.current_id.encode()}, data=sealed)

    def _open(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        try:
            return Payload.FromString(self._sealer.open(payload.data, PURPOSE))
        except SetupError as error:
            kid = payload.metadata.get("kid", b"").decode("ascii", errors="replace")[:64]
            raise SetupError(f"a Temporal payload sealed under key {kid!r} does not open: {error}") from error
