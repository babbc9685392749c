"""How a call ended, judged by what was seen: one table for every provider, with a hook for a provider's own codes.

On a *send* only what is proven not to have left counts as not sent; the rest is outcome unknown. On a read, or a write
that may be repeated, whatever may pass is ``ProviderUnavailable``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope, SendError
from domain.model import JsonValue
from providers.wire import Read, mask_numbers, plain_code, read_json

LONGEST_RETRY_AFTER = timedelta(hours=1)
"""A provider cannot park us for longer than this (A-C3)."""

_SECONDS = re.compile(r"\d+", re.ASCII)
_FRACTION = re.compile(r"\d{1,12}\.\d+", re.ASCII)


class Ending(StrEnum):
    """The three ways in which a call ends other than well."""

    UNAVAILABLE = "unavailable"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """What an observation means. ``reason`` is for people and holds nothing personal."""

    ending: Ending
    scope: Scope
    code: str
    reason: str = ""
    retry_after: timedelta | None = None
    suppress: bool = False

    def error(self, subject: str, request_id: str = "") -> SendError:
        """The error that says so. ``subject`` names account and step."""
        known = f" (request {request_id})" if request_id else ""
        match self.ending:
            case Ending.UNAVAILABLE:
                return ProviderUnavailable(
                    f"{subject}: {self.reason}{known}; not done, it may pass: try again",
                    scope=self.scope,
                    code=self.code,
                    request_id=request_id,
                    retry_after=self.retry_after,
                )
            case Ending.REJECTED:
                return ProviderRejected(
                    f"{subject}: {self.reason}{known}; refused, and the same request will be refused again",
                    scope=self.scope,
                    code=self.code,
                    request_id=request_id,
                    suppress=self.suppress,
                )
            case Ending.UNKNOWN:
                text = f"{subject}: {self.reason}{known}; it may have been sent: ask the provider, do not repeat it"
                return OutcomeUnknown(text, scope=self.scope, code=self.code, request_id=request_id)


@dataclass(frozen=True, repr=False)
class Answer:
    """An HTTP answer read to its end, or to our limit. ``headers`` have lower-case names."""

    subject: str
    is_send: bool
    status: int
    headers: Mapping[str, str]
    body: bytes
    cut_off: bool = False
    request_id: str = ""

    def json(self) -> JsonValue:
        """The body as JSON; None when it is none. A body beyond our limit is none."""
        read = None if self.cut_off else read_json(self.body)
        return read.value if isinstance(read, Read) else None

    def unusable(self, why: str) -> SendError:
        """The error for a success that lacks what makes it one: a send may have left all the same."""
        if self.is_send:
            verdict = Verdict(Ending.UNKNOWN, Scope.MESSAGE, "unusable-answer", f"answered {self.status}, but {why}")
        else:
            verdict = Verdict(
                Ending.UNAVAILABLE, Scope.ACCOUNT, "unusable-answer", f"answered {self.status}, but {why}"
            )
        return verdict.error(self.subject, self.request_id)


Refine = Callable[[Answer, Verdict], Verdict]
"""A provider's own table: takes an answer and the verdict by status, gives back a better one or the same."""


def as_it_stands(_answer: Answer, verdict: Verdict) -> Verdict:
    """The table of a provider that has none."""
    return verdict


def by_status(answer: Answer, rejected_scope: Scope = Scope.MESSAGE) -> Verdict:
    """The verdict by HTTP status alone, for every answer that is no success."""
    status, code = answer.status, f"http-{answer.status}"
    seen = f"answered {status}"
    wait = retry_after(answer.headers)
    if 300 <= status < 400:
        reason = f"{seen}, a redirect, which is never followed: correct base_url of the account"
        return Verdict(Ending.REJECTED, Scope.ACCOUNT, code, reason)
    if status == 429:
        return Verdict(Ending.UNAVAILABLE, Scope.ACCOUNT, code, f"{seen}, throttled", wait)
    if status in (401, 403):
        reason = f"{seen}, no access: check the account's credential and its rights"
        return Verdict(Ending.REJECTED, Scope.ACCOUNT, code, reason)
    if 400 <= status < 500 and status != 408:
        return Verdict(Ending.REJECTED, rejected_scope, code, seen)
    if answer.is_send:
        return Verdict(Ending.UNKNOWN, Scope.MESSAGE, code, seen)
    return Verdict(Ending.UNAVAILABLE, Scope.ACCOUNT, code, seen, wait)


def by_transport(kind: str, *, is_send: bool, proven_unsent: bool) -> Verdict:
    """The verdict on a call without a whole answer. ``kind`` names what broke, as ``ReadTimeout``."""
    code = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()
    if proven_unsent:
        return Verdict(Ending.UNAVAILABLE, Scope.ACCOUNT, code, f"no connection ({kind})")
    if is_send:
        return Verdict(Ending.UNKNOWN, Scope.MESSAGE, code, f"the answer was lost ({kind})")
    return Verdict(Ending.UNAVAILABLE, Scope.ACCOUNT, code, f"the answer was lost ({kind})")


def with_facts(verdict: Verdict, *, code: str, facts: str) -> Verdict:
    """The verdict with the provider's own code, and its static words behind the reason; numbers are masked."""
    told = mask_numbers(" ".join(facts.split()))[:300]
    reason = f"{verdict.reason} ({told})" if told else verdict.reason
    return replace(verdict, code=plain_code(code) or verdict.code, reason=reason)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> timedelta | None:
    """The least time to wait that an answer asks for: delta seconds or an HTTP date, never more than an hour.

    A date is measured against the answer's own ``Date``, else against ``now``, else our clock. What is negative or
    cannot be read is None; nothing raises.
    """
    lowered = {name.lower(): value.strip() for name, value in headers.items()}
    asked = lowered.get("retry-after", "")
    if _SECONDS.fullmatch(asked):
        seconds = float(asked) if len(asked) < 10 else LONGEST_RETRY_AFTER.total_seconds()
        return min(timedelta(seconds=seconds), LONGEST_RETRY_AFTER)
    if _FRACTION.fullmatch(asked):
        return min(timedelta(seconds=float(asked)), LONGEST_RETRY_AFTER)
    until = _http_date(asked)
    if until is None:
        return None
    wait = until - (_http_date(lowered.get("date", "")) or now or datetime.now(UTC))
    return min(wait, LONGEST_RETRY_AFTER) if wait >= timedelta(0) else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except Exception:  # noqa: BLE001 - the parser fails in many ways on foreign text, and none of them matters here
        return None
