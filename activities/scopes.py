"""Holds of a whole scope: what one call runs into stops the others before they call."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import activity

from domain import ids
from domain.errors import NotSent, PolicyRefused, ProviderRejected, ProviderUnavailable, Scope, SendError
from domain.holds import HELD, SHORT_WAIT, HoldRow, refusal
from domain.plans import FlowRef, TemplateRef
from domain.ports import HoldRows


@dataclass(frozen=True)
class Reach:
    """What one call touches, widest first."""

    account: str
    line: str = ""
    flow: FlowRef | None = None
    template: TemplateRef | None = None

    def keys(self) -> Mapping[Scope, str]:
        """The key of each scope that the call touches."""
        keys = {Scope.ACCOUNT: ids.account_scope(self.account)}
        if self.line:
            keys[Scope.LINE] = ids.line_scope(self.line)
        if self.flow is not None and self.flow.id:
            keys[Scope.FLOW] = ids.flow_scope(self.account, self.flow.id)
        if self.template is not None:
            keys[Scope.TEMPLATE] = ids.template_scope(self.account, self.template.name, self.template.language)
        return keys


class ScopeHolds:
    """Writes a hold where a refusal concerns more than one message, and asks for holds before a read is made.

    Sends do not ask here: their claim reads the same rows in its own transaction. What is held between a claim and
    its request, they hear from ``since``: in this process every refusal is known before its row is written.
    """

    def __init__(self, holds: HoldRows) -> None:
        self._holds = holds
        self._told = 0
        self._last: dict[str, tuple[int, HoldRow]] = {}

    def mark(self) -> int:
        """Where the refusals of this process stand now, for a later ``since``."""
        return self._told

    def since(self, mark: int, reach: Reach, at: datetime) -> NotSent | None:
        """What a call with this reach is to hear of refusals after the mark; None when none concerns it."""
        for scope, key in reach.keys().items():
            told, row = self._last.get(key, (0, None))
            if row is not None and told > mark and (row.until is None or row.until > at):
                return _held(row, scope, at)
        return None

    async def check(self, reach: Reach, at: datetime) -> None:
        """Raise ``PolicyRefused``, or ``ProviderUnavailable`` where the hold is over soon, when the scope is held."""
        keys = reach.keys()
        row = await self._holds.standing(tuple(keys.values()), at)
        if row is None or row.trial == activity.info().workflow_id:
            return
        scope = next(scope for scope, key in keys.items() if key == row.scope_key)
        raise _held(row, scope, at)

    async def remember(self, error: SendError, reach: Reach, at: datetime) -> SendError:
        """Hold the whole scope of a refusal, or of a throttle that names its end. Anything else holds nobody.

        Returns what the caller is to hear: of a throttle that takes long, that the scope is held.
        """
        key = reach.keys().get(error.scope)
        if key is None:
            return error
        until: datetime | None = None
        if isinstance(error, ProviderUnavailable):
            if error.retry_after is None:
                return error  # an outage: everybody's own back-off finds out when it is over
            until = at + error.retry_after
        elif not isinstance(error, ProviderRejected):
            return error
        row = HoldRow(scope_key=key, until=until, code=error.code, reason=str(error)[:500], at=at)
        self._told += 1
        self._last[key] = (self._told, row)
        await self._holds.hold(row)
        if until is not None and until - at > SHORT_WAIT:
            return PolicyRefused(str(error), scope=error.scope, code=HELD)
        return error


def _held(row: HoldRow, scope: Scope, at: datetime) -> NotSent:
    return refusal(f"{row.scope_key} is held: {row.reason}", scope, row.until, at)


def logical_now(at: datetime) -> datetime:
    """The workflow's clock at this attempt: ``at`` is that of the moment when the activity was scheduled."""
    info = activity.info()
    return at + max(info.started_time - info.scheduled_time, timedelta(0))
