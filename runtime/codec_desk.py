"""What the codec server may open for whom: each payload by the owner of its key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from temporalio.api.common.v1 import Payload

from domain.audit import ERASED_TEXT
from domain.errors import Erased, NotEntitled, NotFound, SetupError
from runtime.codec import ENCODING, AesGcmCodec, PayloadSealer
from runtime.keyed_codec import key_id_of, seal, unseal
from store.candidate_keys import PREFIX, DataKeys, KeyOwner

ERASED: Final = Payload(metadata={"encoding": b"json/plain"}, data=b'"' + ERASED_TEXT.encode() + b'"')


@dataclass(frozen=True)
class Reader:
    """Who asks. Without a tenant it is one of the installation's own, who sees everything that is sealed here."""

    name: str
    tenant: str | None

    def may_open(self, owner: KeyOwner) -> bool:
        """Whether this key is the reader's to use."""
        return self.tenant is None or owner.tenant == self.tenant


class CodecDesk:
    """Opens payloads for readers, each by itself: what a reader may not see stays sealed and the rest is shown.

    A payload under a foreign key comes back exactly like one under a key that never was, and like one that was
    altered: unchanged. Only a reader's own tenant learns that a person was erased.
    """

    def __init__(self, keys: DataKeys, older: PayloadSealer) -> None:
        self._keys = keys
        self._older = AesGcmCodec(older)

    async def decode(self, reader: Reader, payloads: Sequence[Payload]) -> list[Payload]:
        """Open what this reader may see. Raises ``StoreUnavailable``."""
        named = {key_id_of(one) for one in payloads if one.metadata.get("encoding") == ENCODING}
        owners = await self._keys.owners_of({key_id for key_id in named if key_id.startswith(PREFIX)})
        allowed = {key_id for key_id, owner in owners.items() if reader.may_open(owner)}
        return [await self._opened(reader, payload, allowed) for payload in payloads]

    async def encode(self, reader: Reader, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal under the service's key, for the temporal command line in the hands of the installation's own.

        Raises ``NotEntitled`` for a tenant's reader: the server is not told whom a payload concerns, and what
        concerns a candidate must go with the candidate. ``PayloadTooLarge`` and ``StoreUnavailable``.
        """
        if reader.tenant is not None:
            raise NotEntitled("only a service token may encode: operate engagements by rapport or its REST interface")
        key = await self._keys.service_key()
        return [seal(key, payload) for payload in payloads]

    async def _opened(self, reader: Reader, payload: Payload, allowed: set[str]) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = key_id_of(payload)
        try:
            if key_id in allowed:
                return unseal(await self._keys.open(key_id), payload)
            if reader.tenant is None and not key_id.startswith(PREFIX):
                (opened,) = await self._older.decode([payload])
                return opened
        except Erased:
            return ERASED
        except (SetupError, NotFound):
            return payload
        return payload
