"""Every error of ours, in one closed tree.

RapportError
├── BadInput                refused before anything started; carries every mistake
├── Conflict                the reference is taken by an engagement with other input
├── NotFound                no such thing, or not yours
├── NotAllowed              the command does not fit the state of the engagement
├── NotEntitled             the caller's role does not allow this
├── SetupError              configuration, credentials or environment are wrong
├── Erased                  the person was erased: the key to this is destroyed
├── PayloadTooLarge         more than Temporal takes in one payload
├── EngineUnavailable       Temporal or its workers did not answer; asking again is safe
├── SendError               how a provider call ended other than well
│   ├── NotSent             known not sent
│   │   ├── ProviderUnavailable   may pass: the same request is worth another try
│   │   ├── StoreUnavailable      our own store did not answer, nothing was attempted
│   │   ├── ProviderRejected      will not pass: the same request will never succeed
│   │   └── PolicyRefused         our own rules forbid this send
│   └── OutcomeUnknown      may have been sent: never repeated blindly
└── WebhookRefused          a delivery that is not authentic: 401, nothing stored
    └── HandshakeRefused    a subscription handshake that fails: 403 or 400

Texts say what happened, to what, and what to do. They never hold a secret, a phone number or a name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Scope(StrEnum):
    """What else a refusal or a throttle stops besides the one request."""

    MESSAGE = "message"
    RECIPIENT = "recipient"
    PAIR = "pair"
    TEMPLATE = "template"
    FLOW = "flow"
    LINE = "line"
    ACCOUNT = "account"

    @property
    def is_shared(self) -> bool:
        """Whether other engagements run into the same refusal."""
        return self in (Scope.TEMPLATE, Scope.FLOW, Scope.LINE, Scope.ACCOUNT)


class RapportError(Exception):
    """Base of everything that we raise on purpose."""


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in what somebody wrote, with where to find it."""

    message: str
    field: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """Render as ``file:line: field: message``, leaving out what is not known."""
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (place, self.field, self.message) if part)


class BadInput(RapportError):
    """Input was refused; nothing was started. ``mistakes`` holds all of them."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class Conflict(RapportError):
    """An engagement with this reference exists and its input differs in ``fields``."""

    def __init__(self, message: str, fields: Sequence[str] = ()) -> None:
        self.fields = tuple(fields)
        super().__init__(message)


class NotFound(RapportError):
    """There is no such thing, or it belongs to another tenant; callers cannot tell the two apart."""


class NotAllowed(RapportError):
    """The command does not fit the present state."""


class NotEntitled(RapportError):
    """The caller is known, but its role does not include this."""


class SetupError(RapportError):
    """Configuration, credentials or environment are wrong; the text says how to put it right."""


class Erased(RapportError):
    """The person was erased and the key destroyed: nothing sealed under it opens again, and nothing more is sealed."""


class PayloadTooLarge(RapportError):
    """One payload is larger than Temporal takes; it is refused here, where it can still be told what it was."""


class EngineUnavailable(RapportError):
    """Temporal, or a worker that it needs, did not answer. Asking again with the same ids is always safe."""


class NotAnswered(EngineUnavailable):
    """Temporal answered and this one engagement did not: no worker has it, or its worker cannot go on with it."""


class SendError(RapportError):
    """A provider call that did not end well. ``code`` is the provider's own code or ours, as text."""

    def __init__(self, message: str, *, scope: Scope = Scope.MESSAGE, code: str = "", request_id: str = "") -> None:
        self.scope = scope
        self.code = code
        self.request_id = request_id
        super().__init__(message)


class NotSent(SendError):
    """Known not to have reached the candidate."""


class ProviderUnavailable(NotSent):
    """Not sent, and the same request may pass later; ``retry_after`` is the least time to wait."""

    def __init__(
        self,
        message: str,
        *,
        scope: Scope = Scope.ACCOUNT,
        code: str = "",
        request_id: str = "",
        retry_after: timedelta | None = None,
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, scope=scope, code=code, request_id=request_id)


class StoreUnavailable(NotSent):
    """Our own store did not answer before anything was attempted."""


class ProviderRejected(NotSent):
    """Not sent, and the same request will never succeed. ``suppress`` asks to stop marketing to this recipient.

    ``free_form`` says that what was refused is a message without a template, in whose place a template may leave.
    """

    def __init__(
        self,
        message: str,
        *,
        scope: Scope = Scope.MESSAGE,
        code: str = "",
        request_id: str = "",
        suppress: bool = False,
        free_form: bool = False,
    ) -> None:
        self.suppress, self.free_form = suppress, free_form
        super().__init__(message, scope=scope, code=code, request_id=request_id)


class PolicyRefused(NotSent):
    """One of our own rules, named by ``code``, forbids this send. ``until`` is when it will not any more, if known."""

    def __init__(
        self,
        message: str,
        *,
        scope: Scope = Scope.MESSAGE,
        code: str = "",
        request_id: str = "",
        until: datetime | None = None,
    ) -> None:
        self.until = until
        super().__init__(message, scope=scope, code=code, request_id=request_id)


class OutcomeUnknown(SendError):
    """The message may have been sent. It is reconciled or given to a person, never repeated blindly."""


class WebhookRefused(RapportError):
    """A delivery that is not authentic: answered 401, nothing parsed, nothing stored but a count."""


class HandshakeRefused(WebhookRefused):
    """A subscription handshake with a wrong token (403) or without a challenge (400)."""

    def __init__(self, message: str, http_status: int) -> None:
        self.http_status = http_status
        super().__init__(message)
