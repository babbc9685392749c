"""The recruiter's system: receives what Rapport tells it, and checks the Standard Webhooks signature itself."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json

from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import faults
from sandbox.faults import AFTER, BEFORE, FaultKind, Occasion
from sandbox.traffic import Call, Refusal
from sandbox.values import Frozen, Instant, wall_clock
from sandbox.world import World

TOLERANCE = 300
"""Seconds that a signature may be old, or ahead (Standard Webhooks)."""


class AtsDelivery(Frozen):
    """One accepted delivery. ``repeat`` tells that its ``webhook-id`` has been seen before."""

    tenant: str
    webhook_id: str
    at: Instant
    repeat: bool
    body: JsonValue


class AtsList(Frozen):
    """Deliveries in the order of their arrival."""

    count: int
    deliveries: tuple[AtsDelivery, ...]


class _NotAuthentic(Exception):
    def __init__(self, rule: str, header: str) -> None:
        super().__init__(rule)
        self.rule, self.header = rule, header


class Ats:
    """The receivers at ``/ats/{tenant}``. Faults: provider ``ats``, operation ``deliver``, account the tenant."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._deliveries: list[AtsDelivery] = []

    def routes(self) -> list[Route]:
        """The receiver's only address."""
        return [Route("/ats/{tenant}", self.receive, methods=["POST"])]

    def list(self, tenant: str | None = None) -> AtsList:
        """What was accepted."""
        found = tuple(d for d in self._deliveries if tenant in (None, d.tenant))
        return AtsList(count=len(found), deliveries=found)

    def clear(self) -> None:
        """Forget what was received."""
        self._deliveries.clear()

    async def receive(self, request: Request) -> Response:
        """Take one delivery: 204, or 401, 404, 400 with the rule that was broken."""
        tenant, body = str(request.path_params["tenant"]), await request.body()
        occasion = Occasion("ats", "deliver", tenant)
        if slow := self._world.faults.take(occasion, frozenset({FaultKind.SLOW})):
            await asyncio.sleep(slow.options.seconds)
        struck = self._world.faults.take(occasion, BEFORE)
        response = self._fault_answer(struck) if struck else self._judge(tenant, request, body)
        if struck is None and response.status_code < 300 and (struck := self._world.faults.take(occasion, AFTER)):
            response = self._fault_answer(struck)
        self._world.traffic.called(
            Call(
                provider="ats",
                operation="deliver",
                account=tenant,
                method=request.method,
                path=request.url.path,
                number=None,
                status=None if isinstance(response, faults.CutConnection) else response.status_code,
                fault=struck.kind if struck else None,
                at=self._world.clock.now(),
            )
        )
        return response

    def _fault_answer(self, fault: faults.Fault) -> Response:
        return faults.answer(fault, self._world.clock, Response(status_code=429), Response(status_code=401))

    def _judge(self, tenant: str, request: Request, body: bytes) -> Response:
        secret = self._world.settings.ats.get(tenant)
        if secret is None:
            return self._refuse(404, "tenant", "path")
        try:
            webhook_id = _verified(secret.get_secret_value(), request, body)
        except _NotAuthentic as refused:
            return self._refuse(401, refused.rule, refused.header)
        try:
            content: JsonValue = json.loads(body)
        except ValueError:
            return self._refuse(400, "json", "body")
        repeat = any(d.webhook_id == webhook_id and d.tenant == tenant for d in self._deliveries)
        delivery = AtsDelivery(
            tenant=tenant, webhook_id=webhook_id, at=self._world.clock.now(), repeat=repeat, body=content
        )
        self._deliveries.append(delivery)
        return Response(status_code=204)

    def _refuse(self, status: int, rule: str, where: str) -> Response:
        at = self._world.clock.now()
        self._world.traffic.refused(
            Refusal(provider="ats", operation="deliver", status=status, rule=rule, where=where, at=at)
        )
        return JSONResponse({"rule": rule, "where": where}, status)


def _verified(secret: str, request: Request, body: bytes) -> str:
    """Check id, time and signature over the raw bytes; the time is the wall clock's, as everywhere with signatures."""
    values = {}
    for header in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        values[header] = request.headers.get(header, "")
        if not values[header]:
            raise _NotAuthentic("header-missing", header)
    stamp = values["webhook-timestamp"]
    if not (stamp.isascii() and stamp.isdigit()):
        raise _NotAuthentic("timestamp", "webhook-timestamp")
    if abs(wall_clock().timestamp() - int(stamp)) > TOLERANCE:
        raise _NotAuthentic("timestamp-tolerance", "webhook-timestamp")
    key = base64.b64decode(secret.removeprefix("whsec_") + "==")
    signed = b".".join((values["webhook-id"].encode(), stamp.encode(), body))
    right = hmac.new(key, signed, hashlib.sha256).digest()
    if not any(hmac.compare_digest(right, given) for given in _signatures(values["webhook-signature"])):
        raise _NotAuthentic("signature", "webhook-signature")
    return values["webhook-id"]


def _signatures(header: str) -> list[bytes]:
    found = []
    for entry in header.split(" "):
        version, _, text = entry.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found
