"""How values become payloads: pydantic's JSON, and audit lines marked so that the codec knows them."""

from typing import Any, Final

from pydantic_core import from_json, to_json
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import EncodingPayloadConverter

from domain.audit import AuditLine

AUDIT_MARK: Final = "rapport-audit"
"""In the metadata of a payload that holds an audit line, until the codec has read it."""


class AuditLineConverter(EncodingPayloadConverter):
    """Writes audit lines as the plain JSON that Temporal UI shows, with the mark; leaves everything else alone."""

    @property
    def encoding(self) -> str:
        """A name of its own: what it writes says ``json/plain`` and is read by the converter of that."""
        return "json/audit-line"

    def to_payload(self, value: Any) -> Payload | None:
        """A marked payload for an ``AuditLine``, None for anything else."""
        if not isinstance(value, AuditLine):
            return None
        return Payload(metadata={"encoding": b"json/plain", AUDIT_MARK: b"1"}, data=to_json(str(value)))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The text, for payloads that name this encoding; none of ours does."""
        return from_json(payload.data)


class RapportPayloadConverter(PydanticPayloadConverter):
    """Pydantic's converter, asked after the one for audit lines.

    The SDK makes one for each workflow run and several for each task. They share what they are made of: it holds
    nothing but what pydantic worked out about types, which is then done once a process and not once a run.
    """

    def __init__(self) -> None:
        self._set_converters(*_CONVERTERS)


_CONVERTERS: Final = (AuditLineConverter(), *PydanticPayloadConverter().converters.values())
