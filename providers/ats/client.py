"""Tells a tenant's system what became of an engagement, signed as Standard Webhooks says."""

import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import SecretStr
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from domain.calls import AtsNotice
from domain.errors import ProviderRejected, Scope, SetupError
from domain.model import JsonValue
from domain.topology import Topology
from providers.endings import Answer, Ending, Verdict
from providers.http import JsonBody, Limits, ProviderHttp, Request, Transport


@dataclass(frozen=True)
class AtsEndpoint:
    """Where a tenant's system listens, and the key that signs what we tell it: base64, as ``whsec_…``."""

    url: str
    secret: SecretStr


def ats_endpoints(topology: Topology, resolve: Callable[[str], SecretStr]) -> dict[str, AtsEndpoint]:
    """The endpoint of every tenant that has one."""
    return {t.slug: AtsEndpoint(t.ats.url, resolve(t.ats.secret)) for t in topology.tenants if t.ats is not None}


def _now() -> datetime:
    return datetime.now(UTC)


class StandardWebhookNotifier:
    """``domain.ports.AtsNotifier`` over signed webhooks: one request a call, no retries.

    Raises ``SetupError`` for a key that is no base64. ``clock`` dates signatures, which receivers refuse when old.
    """

    def __init__(
        self,
        targets: Mapping[str, AtsEndpoint],
        *,
        limits: Limits | None = None,
        transport: Transport | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._clock = clock
        self._signers = {tenant: _signer(tenant, target.secret) for tenant, target in targets.items()}
        self._http = {
            tenant: ProviderHttp(
                f"ATS of tenant {tenant}", target.url, {}, limits=limits, refine=_redirects_pass, transport=transport
            )
            for tenant, target in targets.items()
        }

    async def notify(self, tenant: str, notice: AtsNotice) -> None:
        """Tell it once: POST ``{type, timestamp, data}``. Any 2xx is heard."""
        http = self._http.get(tenant)
        if http is None:
            text = f"ATS of tenant {tenant}: no address is configured; add tenants[].ats"
            raise ProviderRejected(text, scope=Scope.ACCOUNT, code="no-ats")
        body = JsonBody(_payload(notice))
        request = Request("tell an outcome", "POST", "", body=body, headers=self._signed(tenant, notice, body))
        await http.call(request)

    async def close(self) -> None:
        """Give back connections."""
        for http in self._http.values():
            await http.close()

    def _signed(self, tenant: str, notice: AtsNotice, body: JsonBody) -> dict[str, str]:
        now = self._clock()
        signature = self._signers[tenant].sign(notice.event_id, now, body.encoded().decode())
        return {
            "webhook-id": notice.event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }


def _signer(tenant: str, secret: SecretStr) -> Webhook:
    try:
        return Webhook(secret.get_secret_value())
    except (binascii.Error, ValueError, EmptyWebhookSecretError):
        pass  # raised below, without a cause that could show the key
    raise SetupError(f"ATS of tenant {tenant}: the signing key is empty or no base64; make one as whsec_<base64>")


def _payload(notice: AtsNotice) -> dict[str, JsonValue]:
    data: dict[str, JsonValue] = notice.about.model_dump(mode="json")
    return {"type": notice.event_type, "timestamp": notice.at.isoformat().replace("+00:00", "Z"), "data": data}


def _redirects_pass(answer: Answer, verdict: Verdict) -> Verdict:
    """Redirects are failures that may pass (Standard Webhooks); whatever else stands."""
    if 300 <= answer.status < 400:
        return replace(verdict, ending=Ending.UNAVAILABLE)
    return verdict
