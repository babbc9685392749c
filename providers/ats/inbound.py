"""Reads what a tenant's system tells us: Standard Webhooks, verified on the raw bytes before anything is parsed.

Two types are understood::

    {"type": "engagement.status", "data": {"reference": "app-1", "status": "hired", "job": "job-88", "reason": "…"}}
    {"type": "requisition.closed", "data": {"job": "job-88", "reason": "…"}}
"""

import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints, TypeAdapter, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from domain.ats import AtsDeliveryState, AtsTelling, AtsUnread, AtsWord, Job
from domain.errors import SetupError, WebhookRefused
from domain.model import Model, Reference
from domain.topology import Topology

REASON_LIMIT = 300
"""Characters of a reason that are kept; the rest is cut off."""

_NAMED = ("webhook-id", "webhook-timestamp", "webhook-signature")


class _Status(Model):
    reference: Reference
    status: AtsWord
    job: Job = ""
    reason: str = ""


class _Closed(Model):
    job: Annotated[Job, StringConstraints(min_length=1)]
    reason: str = ""


class _StatusTold(Model):
    type: Literal["engagement.status"]
    data: _Status


class _RequisitionClosed(Model):
    type: Literal["requisition.closed"]
    data: _Closed


_KNOWN = ("engagement.status", "requisition.closed")
_TOLD: TypeAdapter[_StatusTold | _RequisitionClosed] = TypeAdapter(
    Annotated[_StatusTold | _RequisitionClosed, Field(discriminator="type")]
)


class AtsReader:
    """Verifies and reads the deliveries of one tenant's system. Raises ``SetupError`` for a key that is no base64."""

    def __init__(self, tenant: str, secrets: Sequence[SecretStr]) -> None:
        self._tenant = tenant
        self._verifiers = [_verifier(tenant, secret) for secret in secrets]
        if not self._verifiers:
            raise SetupError(f"ATS of tenant {tenant}: no key that verifies what it tells us")

    def handshake(self, query: Mapping[str, str]) -> str | None:
        """There is none."""
        return None

    def verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Raise ``WebhookRefused`` unless one of the keys signed exactly this, within five minutes of now."""
        signed = {name: headers.get(name, "") for name in _NAMED}
        # every key is tried, so that time does not tell which one fitted; the comparison itself takes constant time
        fitting = [_fits(verifier, body, signed) for verifier in self._verifiers]
        if not signed["webhook-id"] or not any(fitting):
            raise WebhookRefused(f"a delivery for the ATS of tenant {self._tenant} is not authentic")

    def read(self, body: bytes) -> AtsTelling | AtsUnread:
        """What a verified delivery tells; why nothing, where it tells nothing that we can act on. Never raises."""
        try:
            kind = json.loads(body).get("type")
        except (ValueError, AttributeError, RecursionError):
            return AtsUnread(state=AtsDeliveryState.UNREADABLE, why="not a JSON object")
        if kind not in _KNOWN:
            return AtsUnread(state=AtsDeliveryState.IGNORED, why="of a type that is not known here")
        try:
            told = _TOLD.validate_json(body)
        except ValidationError as error:
            places = sorted({".".join(str(part) for part in found["loc"][1:]) for found in error.errors()})
            why = f"{kind}: missing or malformed: {', '.join(places)}"
            return AtsUnread(state=AtsDeliveryState.UNREADABLE, why=why)
        actor = f"ats of {self._tenant}"
        if isinstance(told, _StatusTold):
            data = told.data
            reason = _reason(data.reason, data.status)
            return AtsTelling(status=data.status, reference=data.reference, job=data.job, reason=reason, actor=actor)
        closed = AtsWord.REQUISITION_CLOSED
        return AtsTelling(status=closed, job=told.data.job, reason=_reason(told.data.reason, closed), actor=actor)


def ats_readers(topology: Topology, resolve: Callable[[str], SecretStr]) -> dict[str, AtsReader]:
    """The reader of every tenant whose system may tell us something."""
    return {
        tenant.slug: AtsReader(tenant.slug, [resolve(secret) for secret in tenant.ats_webhook_secrets])
        for tenant in topology.tenants
        if tenant.ats_webhook_secrets
    }


def _verifier(tenant: str, secret: SecretStr) -> Webhook:
    try:
        return Webhook(secret.get_secret_value())
    except (binascii.Error, ValueError, EmptyWebhookSecretError):
        pass  # raised below, without a cause that could show the key
    raise SetupError(f"ATS of tenant {tenant}: a key of ats_webhook_secrets is empty or no base64: whsec_<base64>")


def _fits(verifier: Webhook, body: bytes, signed: dict[str, str]) -> bool:
    try:
        verifier.verify(body.decode(), signed, json_parse=False)
    except (WebhookVerificationError, UnicodeDecodeError, ValueError):
        return False
    return True


def _reason(given: str, status: AtsWord) -> str:
    """One line of bounded length; the word itself where none was given."""
    told = " ".join(given.split())[:REASON_LIMIT]
    return told or status.value
