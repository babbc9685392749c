"""Faults on demand: what a provider does on a bad day, each one asked for and counted."""

from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Annotated

import structlog
from pydantic import Field, model_validator
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox.clock import Clock
from sandbox.values import Frozen

log = structlog.get_logger()

CUT = "sandbox.cut"
"""The ASGI extension that closes the client's connection; see ``sandbox.connection``."""


class FaultKind(StrEnum):
    """What goes wrong. The first group is for requests, the second for webhooks."""

    THROTTLE = "throttle"
    """429 before the effect, with Retry-After in seconds or as a date."""
    ERROR_BEFORE = "error-before"
    """Answer ``status`` and ``body`` without the effect."""
    ERROR_AFTER = "error-after"
    """Answer ``status`` and ``body`` after the effect."""
    CUT_BEFORE = "cut-before"
    """Close the connection without an answer and without the effect."""
    CUT_AFTER = "cut-after"
    """Close the connection without an answer, after the effect."""
    SLOW = "slow"
    """Wait ``seconds`` of real time before anything else."""
    UNAUTHORIZED = "unauthorized"
    """401, as after a token was re-issued."""

    DUPLICATE = "duplicate"
    """Deliver ``copies`` more, byte for byte, or with a new delivery id."""
    REORDER = "reorder"
    """Hold the delivery back until another one of the same conversation has been made."""
    BEFORE_ANSWER = "before-answer"
    """Deliver before the request that causes it is answered."""
    LATE = "late"
    """Deliver ``seconds`` of the sandbox's clock later, as it was."""
    DROP = "drop"
    """Never deliver."""


BEFORE = frozenset({FaultKind.THROTTLE, FaultKind.ERROR_BEFORE, FaultKind.CUT_BEFORE, FaultKind.UNAUTHORIZED})
AFTER = frozenset({FaultKind.ERROR_AFTER, FaultKind.CUT_AFTER})
ON_WEBHOOKS = frozenset({FaultKind.DUPLICATE, FaultKind.REORDER, FaultKind.LATE, FaultKind.DROP})


class FaultOptions(Frozen):
    """Numbers and texts of a fault; each kind reads its own."""

    retry_after: Annotated[int, Field(ge=0)] | None = None
    """Seconds, for ``throttle`` and the errors."""
    as_date: bool = False
    """Write Retry-After as an HTTP date."""
    status: Annotated[int, Field(ge=200, le=599)] = 500
    body: str = ""
    content_type: str = "text/html"
    location: str | None = None
    """For a 3xx."""
    seconds: Annotated[float, Field(ge=0)] = 1.0
    """For ``slow`` real seconds, for ``late`` the sandbox's."""
    copies: Annotated[int, Field(ge=1, le=20)] = 1
    new_id: bool = False
    """Whether the copies carry ids of their own."""
    until: str = ""
    """For ``reorder``: how the name of the delivery begins that overtakes this one; empty takes the next one."""
    at_latest: Annotated[float, Field(ge=0)] = 3600.0
    """For ``reorder``: seconds of the sandbox's clock after which nothing is waited for any more."""


class Fault(Frozen):
    """Something that will go wrong. Every member that is left out fits all."""

    provider: str
    operation: str = "*"
    """``run-create``, ``thread-list`` …; for webhooks ``webhook`` or the beginning of ``webhook:flowRuns:running``."""
    account: str | None = None
    """The account's name; for the ATS the tenant."""
    number: str | None = None
    thread: str | None = None
    persona: str | None = None
    kind: FaultKind
    times: Annotated[int, Field(ge=1)] | None = 1
    """How often; None for ever."""
    options: FaultOptions = FaultOptions()

    @model_validator(mode="after")
    def _the_kind_fits_the_operation(self) -> "Fault":
        on_webhook = self.operation.startswith("webhook")
        for_webhooks = self.kind in ON_WEBHOOKS or self.kind is FaultKind.BEFORE_ANSWER
        if on_webhook and not for_webhooks:
            raise ValueError(f"{self.kind} is a fault of requests, not of webhooks")
        if for_webhooks and not on_webhook:
            raise ValueError(f"{self.kind} is a fault of webhooks: name the operation 'webhook' or 'webhook:…'")
        return self


class FaultView(Frozen):
    """A fault, how often it struck, and how often it still will (None: for ever)."""

    id: str
    fault: Fault
    hits: int
    left: int | None


class FaultList(Frozen):
    """Every fault that was asked for, spent ones too."""

    count: int
    faults: tuple[FaultView, ...]


@dataclass(frozen=True)
class Occasion:
    """A request or a delivery that a fault may strike."""

    provider: str
    operation: str
    account: str | None = None
    number: str | None = None
    thread: str | None = None
    persona: str | None = None


@dataclass
class _Armed:
    id: str
    fault: Fault
    hits: int = 0

    def fits(self, occasion: Occasion) -> bool:
        fault = self.fault
        if fault.times is not None and self.hits >= fault.times:
            return False
        pairs = (
            (fault.account, occasion.account),
            (fault.number, occasion.number),
            (fault.thread, occasion.thread),
            (fault.persona, occasion.persona),
        )
        return (
            fault.provider == occasion.provider
            and _covers(fault.operation, occasion.operation)
            and all(asked in (None, found) for asked, found in pairs)
        )


def _covers(asked: str, operation: str) -> bool:
    if asked == "*":
        return not operation.startswith("webhook:")
    return operation == asked or operation.startswith(f"{asked}:")


class Faults:
    """The faults that are armed. The oldest one that fits strikes first."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._asked = 0

    def arm(self, fault: Fault) -> FaultView:
        """Let something go wrong from now on."""
        self._asked += 1
        armed = _Armed(f"fault-{self._asked}", fault)
        self._armed.append(armed)
        return _view(armed)

    def disarm(self, fault_id: str) -> bool:
        """Take a fault back; False when there is none of this id."""
        before = len(self._armed)
        self._armed = [armed for armed in self._armed if armed.id != fault_id]
        return len(self._armed) < before

    def clear(self) -> None:
        """Take all faults back."""
        self._armed.clear()

    def list(self) -> FaultList:
        """All faults with their hits."""
        return FaultList(count=len(self._armed), faults=tuple(_view(armed) for armed in self._armed))

    def take(self, occasion: Occasion, kinds: frozenset[FaultKind]) -> Fault | None:
        """The fault of these kinds that strikes now, counted; None when all goes well."""
        for armed in self._armed:
            if armed.fault.kind in kinds and armed.fits(occasion):
                armed.hits += 1
                log.info("sandbox_fault", fault=armed.id, kind=armed.fault.kind, operation=occasion.operation)
                return armed.fault
        return None


def _view(armed: _Armed) -> FaultView:
    times = armed.fault.times
    return FaultView(
        id=armed.id, fault=armed.fault, hits=armed.hits, left=None if times is None else times - armed.hits
    )


class CutConnection(Response):
    """Not an answer: the connection is closed, as when a provider dies between the effect and the answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the connection through the extension that ``sandbox.connection`` put there."""
        await scope["extensions"][CUT]()


def answer(fault: Fault, clock: Clock, throttled: Response, unauthorized: Response) -> Response:
    """What the client gets from a fault of a request. The provider gives its own 429 and 401."""
    match fault.kind:
        case FaultKind.CUT_AFTER | FaultKind.CUT_BEFORE:
            return CutConnection()
        case FaultKind.UNAUTHORIZED:
            return unauthorized
        case FaultKind.THROTTLE:
            response = throttled
        case _:
            response = Response(fault.options.body, fault.options.status, media_type=fault.options.content_type)
    if fault.options.location is not None:
        response.headers["Location"] = fault.options.location
    if fault.options.retry_after is not None:
        response.headers["Retry-After"] = _retry_after(
            fault.options.retry_after, as_date=fault.options.as_date, clock=clock
        )
    return response


def _retry_after(seconds: int, *, as_date: bool, clock: Clock) -> str:
    if not as_date:
        return str(seconds)
    return format_datetime(clock.now() + timedelta(seconds=seconds), usegmt=True)
