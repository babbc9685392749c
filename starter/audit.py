"""One line in the log for everything that an operator does: who, for which tenant, what, to which, with what result.

Never content, and never a reason: what was said stands in the decision log.
"""

import re
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from starter.tokens import Caller

LOGGER = "rapport.audit"
EVENT = "operator_action"
LOOKS = frozenset({"engagements", "engagement"})
"""Routes that only tell where engagements stand, which a dashboard asks all day."""

_SAFE = re.compile(r"(?!\d{7,}$)[A-Za-z0-9._:-]{1,700}")
"""What may stand in a line: an id or a reference, and nothing that could be a number."""
_ACTING = "acting"


def record(*, who: str, role: str, tenant: str, what: str, reference: str, result: str) -> None:
    """Write the line."""
    told = reference if _SAFE.fullmatch(reference) else ""
    structlog.get_logger(LOGGER).info(
        EVENT, who=who, role=role, tenant=tenant, what=what, reference=told, result=result
    )


def acts(scope: Scope, caller: Caller, role: str) -> None:
    """This request is the caller's, in this role; from here on it is on record, also when it is refused."""
    scope.setdefault("state", {})[_ACTING] = (caller, role)


class AuditedActions:
    """ASGI middleware that records every request of somebody who was let in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it, then record it."""
        status = 500

        async def heard(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, heard)
        finally:
            _record_request(scope, status)


def _record_request(scope: Scope, status: int) -> None:
    acting: tuple[Caller, str] | None = scope.get("state", {}).get(_ACTING)
    route: Any = scope.get("route")
    what = str(getattr(route, "operation_id", None) or getattr(route, "name", ""))
    if acting is None or what in LOOKS:
        return
    caller, role = acting
    named = scope.get("path_params", {})
    reference = next((str(named[name]) for name in ("reference", "who", "job") if name in named), "")
    result = "done" if status < 400 else f"refused {status}"
    record(who=caller.name, role=role, tenant=caller.tenant, what=what, reference=reference, result=result)
