"""One line in the log for everything that an operator does: who, for which tenant, what, to which, with what result.

Never content, and never a reason: what was said stands in the decision log.
"""

import re

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.ids import NO_NUMBER
from runtime.logging import AUDIT
from starter.tokens import Caller

EVENT = "operator_action"
LOOKS = frozenset({"engagements", "engagement"})
"""Routes that only tell where engagements stand, which a dashboard asks all day."""

_SAFE = re.compile(NO_NUMBER + r"[A-Za-z0-9._:-]{1,700}")
"""What may stand in a line: an id or a reference, and nothing that could be a number, however it is written."""
_ACTING, _ABOUT = "acting", "about"


def record(*, who: str, role: str, tenant: str, what: str, reference: str, result: str) -> None:
    """Write the line."""
    told = reference if _SAFE.fullmatch(reference) else ""
    structlog.get_logger(AUDIT).info(EVENT, who=who, role=role, tenant=tenant, what=what, reference=told, result=result)


def acts(scope: Scope, caller: Caller) -> None:
    """This request is the caller's; from here on it is on record, also when it is refused."""
    scope.setdefault("state", {})[_ACTING] = caller


def caller_of(scope: Scope) -> Caller | None:
    """Whose request this is; None for nobody's."""
    caller = scope.get("state", {}).get(_ACTING)
    return caller if isinstance(caller, Caller) else None


def about(scope: Scope, reference: str) -> None:
    """What this request is about, where its path does not say it."""
    scope.setdefault("state", {})[_ABOUT] = reference


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
    caller, route = caller_of(scope), scope.get("route")
    what = str(getattr(route, "operation_id", None) or getattr(route, "name", ""))
    if caller is None or route is None or what in LOOKS:
        return
    named = scope.get("path_params", {})
    reference = next((str(named[name]) for name in ("reference", "who", "job") if name in named), "")
    record(
        who=caller.name,
        role=_role_of(route),
        tenant=caller.tenant,
        what=what,
        reference=reference or scope["state"].get(_ABOUT, ""),
        result=_result(status),
    )


def _role_of(route: object) -> str:
    """The role that the route is for, by what it depends on."""
    needed = getattr(getattr(route, "dependant", None), "dependencies", ())
    return next((one.call.role.value for one in needed if hasattr(one.call, "role")), "")


def _result(status: int) -> str:
    if status < 400:
        return "done"
    return f"refused {status}" if status < 500 else f"failed {status}"
