"""What the providers were asked and what they refused."""

import structlog

from sandbox.values import Frozen, Instant

log = structlog.get_logger()


class Call(Frozen):
    """One request that reached a simulator."""

    provider: str
    operation: str
    account: str | None
    method: str
    path: str
    number: str | None
    status: int | None
    """None when the connection was cut instead of answered."""
    fault: str | None
    """The kind of fault that shaped the answer."""
    at: Instant


class CallFilter(Frozen):
    """Which calls are asked for. ``path`` is compared as a beginning."""

    provider: str | None = None
    operation: str | None = None
    account: str | None = None
    method: str | None = None
    path: str | None = None
    number: str | None = None

    def takes(self, call: Call) -> bool:
        """Whether the call is one of those."""
        pairs = (
            (self.provider, call.provider),
            (self.operation, call.operation),
            (self.account, call.account),
            (self.method, call.method),
            (self.number, call.number),
        )
        return all(asked in (None, found) for asked, found in pairs) and call.path.startswith(self.path or "")


class CallList(Frozen):
    """Calls in the order of their answers."""

    count: int
    calls: tuple[Call, ...]


class Refusal(Frozen):
    """One mistake of a client, by the rule that it broke. Carries no content of the request."""

    provider: str
    operation: str
    status: int
    rule: str
    where: str | None = None
    """JSON pointer, query parameter or header."""
    detail: str | None = None
    at: Instant


class RefusalList(Frozen):
    """Refusals in the order in which they happened."""

    count: int
    refusals: tuple[Refusal, ...]


class Traffic:
    """Remembers calls and refusals."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._refusals: list[Refusal] = []

    def called(self, call: Call) -> None:
        """Remember a request."""
        self._calls.append(call)

    def refused(self, refusal: Refusal) -> None:
        """Remember and log a mistake of the client."""
        self._refusals.append(refusal)
        log.warning(
            "sandbox_refused",
            provider=refusal.provider,
            operation=refusal.operation,
            status=refusal.status,
            rule=refusal.rule,
            where=refusal.where,
        )

    def calls(self, wanted: CallFilter) -> CallList:
        """The requests that fit."""
        found = tuple(call for call in self._calls if wanted.takes(call))
        return CallList(count=len(found), calls=found)

    def refusals(self) -> RefusalList:
        """All mistakes so far."""
        return RefusalList(count=len(self._refusals), refusals=tuple(self._refusals))

    def forget_calls(self) -> None:
        """Count from nothing."""
        self._calls.clear()

    def forget_refusals(self) -> None:
        """Begin an empty list."""
        self._refusals.clear()
