"""What Meta's codes mean: one table, for answers and for statuses. The code decides, then the subcode; text and HTTP
status never do (A-M1).

The meanings are Meta's (Meta: Cloud API error codes; Graph API error handling), the classes ours (A-M4). Only our own
words about a code go into a text: Meta's ``message`` and ``details`` may repeat what we sent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from domain.errors import Scope
from domain.model import JsonValue
from providers.endings import LONGEST_RETRY_AFTER, Answer, Ending, Refine, Verdict, retry_after, with_facts
from providers.meta.schemas import ErrorBody, GraphError
from providers.meta.settings import MetaSettings
from providers.wire import Read, as_object, plain_code, read_json

log = structlog.get_logger()

TEMPLATE_EXISTS = "100/2388024"
"""That name exists in that language already."""

MARKETING_STOPPED = "131050"
"""The person asked for no more marketing messages."""

WINDOW_CLOSED = "131047"
"""More than 24 hours have passed since the person last wrote: only a template may leave."""

USAGE_HEADER = "x-business-use-case-usage"
"""On management calls: JSON whose ``estimated_time_to_regain_access`` counts minutes. Meta: Rate limits."""

HOUR = timedelta(hours=1)

_GRAPH = "Meta: Graph API error handling"
_AUTH = "Meta: Cloud API error codes, authorization"
_RATE = "Meta: Cloud API error codes, throttling"
_INTEGRITY = "Meta: Cloud API error codes, integrity"
_OTHER = "Meta: Cloud API error codes, other"
_TEMPLATE = "Meta: Cloud API error codes, templates"
_FLOW = "Meta: Cloud API error codes, flows"
_NUMBER = "Meta: Cloud API error codes, registration"


@dataclass(frozen=True)
class Row:
    """What one code means. ``at_least`` is the least wait before a retry, ``not_again_for`` before writing to that
    person again; ``alert`` asks for a person's attention although it may pass.
    """

    ending: Ending
    scope: Scope
    meaning: str
    source: str
    at_least: timedelta | None = None
    not_again_for: timedelta | None = None
    suppress: bool = False
    alert: bool = False

    @property
    def is_recipients_fault(self) -> bool:
        """Whether the person cannot or will not be reached; a throttle is nobody's fault."""
        return self.ending is Ending.REJECTED and self.scope in (Scope.RECIPIENT, Scope.PAIR)


def _rejected(scope: Scope, meaning: str, source: str) -> Row:
    return Row(Ending.REJECTED, scope, meaning, source)


def _may_pass(
    scope: Scope, meaning: str, source: str, at_least: timedelta | None = None, *, alert: bool = False
) -> Row:
    return Row(Ending.UNAVAILABLE, scope, meaning, source, at_least=at_least, alert=alert)


def _unknown(meaning: str, source: str) -> Row:
    return Row(Ending.UNKNOWN, Scope.MESSAGE, meaning, source)


_PERMISSION = _rejected(Scope.ACCOUNT, "permission missing or removed: check the token's rights", _AUTH)

TABLE: Mapping[str, Row] = {
    "0": _rejected(Scope.ACCOUNT, "the access token is invalid: make a new one", _AUTH),
    "190": _rejected(Scope.ACCOUNT, "the access token is invalid or has expired: make a new one", _AUTH),
    "3": _rejected(Scope.ACCOUNT, "the app may not use this call: check its capabilities", _AUTH),
    "10": _PERMISSION,
    **{str(code): _PERMISSION for code in range(200, 300)},
    "131005": _PERMISSION,
    "4": _may_pass(Scope.ACCOUNT, "the app's rate limit is reached", _RATE),
    "80007": _may_pass(Scope.ACCOUNT, "the business account's rate limit is reached", _RATE),
    "130429": _may_pass(Scope.LINE, "the number's throughput is reached", _RATE),
    "131056": _may_pass(Scope.PAIR, "too many messages from this line to this person", _RATE),
    "131048": _may_pass(Scope.LINE, "the number is limited for spam: look at its quality", _RATE, HOUR, alert=True),
    "131064": _may_pass(Scope.ACCOUNT, "the messaging limit is reached: look at its tier", _RATE, HOUR, alert=True),
    "368": _rejected(Scope.ACCOUNT, "the account is blocked for a policy violation", _INTEGRITY),
    "131031": _rejected(Scope.ACCOUNT, "the account is locked", _INTEGRITY),
    "131042": _rejected(Scope.ACCOUNT, "the account's payment has a problem", _OTHER),
    "33": _rejected(Scope.LINE, "the business number was deleted", _GRAPH),
    "100/33": _rejected(Scope.LINE, "there is no such object, or the token may not see it: check the ids", _GRAPH),
    "131037": _rejected(Scope.LINE, "the number's display name is not approved", _OTHER),
    "131045": _rejected(Scope.LINE, "the number is not registered (certificate)", _OTHER),
    "133010": _rejected(Scope.LINE, "the number is not registered", _NUMBER),
    "133016": _rejected(Scope.LINE, "the number was registered too often", _NUMBER),
    "100": _rejected(Scope.MESSAGE, "a parameter is not valid", _GRAPH),
    TEMPLATE_EXISTS: _rejected(Scope.TEMPLATE, "a template of that name exists in that language", _GRAPH),
    "131008": _rejected(Scope.MESSAGE, "a required parameter is missing", _OTHER),
    "131009": _rejected(Scope.MESSAGE, "a parameter's value is not valid", _OTHER),
    "131021": _rejected(Scope.MESSAGE, "sender and recipient are the same", _OTHER),
    "131051": _rejected(Scope.MESSAGE, "the type of message is not supported", _OTHER),
    "131062": _rejected(Scope.MESSAGE, "the message cannot go to this kind of recipient id", _OTHER),
    "135000": _rejected(Scope.MESSAGE, "the request's parameters are not valid", _OTHER),
    WINDOW_CLOSED: _rejected(Scope.MESSAGE, "the 24-hour window is closed: use a template", _OTHER),
    "131026": _rejected(Scope.RECIPIENT, "undeliverable to this person", _OTHER),
    "130472": _rejected(Scope.RECIPIENT, "the person is in an experiment of Meta's", _OTHER),
    "130497": _rejected(Scope.RECIPIENT, "the account may not write to people in this country", _INTEGRITY),
    "131030": _rejected(Scope.RECIPIENT, "the person is not on the test number's list", _OTHER),
    "137000": _rejected(Scope.RECIPIENT, "the person's identity key does not match", _OTHER),
    "131049": replace(
        _rejected(Scope.RECIPIENT, "held back for the health of the ecosystem: not again within 24 hours", _OTHER),
        not_again_for=timedelta(hours=24),
    ),
    MARKETING_STOPPED: replace(
        _rejected(Scope.RECIPIENT, "the person stopped marketing messages", _OTHER), suppress=True
    ),
    "132000": _rejected(Scope.TEMPLATE, "the number of parameters does not match the template", _TEMPLATE),
    "132001": _rejected(Scope.TEMPLATE, "the template does not exist in that language or is not approved", _TEMPLATE),
    "132007": _rejected(Scope.TEMPLATE, "the template violates a policy", _TEMPLATE),
    "132015": _rejected(Scope.TEMPLATE, "the template is paused", _TEMPLATE),
    "132016": _rejected(Scope.TEMPLATE, "the template is disabled", _TEMPLATE),
    "131063": _rejected(Scope.LINE, "marketing templates are switched off for this API", _OTHER),
    "132005": _rejected(Scope.MESSAGE, "the text with its parameters is too long", _TEMPLATE),
    "132008": _rejected(Scope.MESSAGE, "a parameter's value is not valid for the template", _TEMPLATE),
    "132012": _rejected(Scope.MESSAGE, "a parameter's format does not match the template", _TEMPLATE),
    "132018": _rejected(Scope.MESSAGE, "the template's parameters are not valid", _TEMPLATE),
    "132068": _rejected(Scope.FLOW, "the WhatsApp Flow is blocked", _FLOW),
    "132069": _may_pass(Scope.FLOW, "the WhatsApp Flow is throttled", _FLOW, HOUR),
    "131016": _may_pass(Scope.LINE, "the service is unavailable", _OTHER),
    "133004": _may_pass(Scope.LINE, "the server is unavailable", _NUMBER),
    "131057": _may_pass(Scope.LINE, "the account is in maintenance", _OTHER),
    "1": _unknown("an unknown error", _GRAPH),
    "2": _unknown("a temporary error of the service", _GRAPH),
    "131000": _unknown("an unknown error", _OTHER),
}

_UNSENT_IF_CONFIGURED = frozenset({"131016", "133004", "131057"})


def row_for(error: GraphError) -> Row | None:
    """The row of a code with its subcode, else of the code alone; None for a code that is not listed."""
    return TABLE.get(error.name) or TABLE.get(error.code)


def is_recipient_fault(errors: Iterable[GraphError]) -> bool:
    """Whether a failed delivery is the recipient's, by the table; a code that is not listed blames nobody."""
    rows = [row_for(error) for error in errors]
    return any(row is not None and row.is_recipients_fault for row in rows)


def codes_of(errors: Iterable[GraphError]) -> tuple[str, ...]:
    """The codes of a failed delivery, as text."""
    return tuple(plain_code(error.name) for error in list(errors)[:5] if error.name)


def refiner(account: str, settings: MetaSettings) -> Refine:
    """The table as ``providers.http`` wants it."""

    def refine(answer: Answer, verdict: Verdict) -> Verdict:
        error = ErrorBody.model_validate(as_object(answer.json())).error
        if not error.code:
            return _without_code(answer, verdict)
        row = row_for(error)
        judged = _unlisted(answer, verdict) if row is None else _listed(row, error, answer, settings)
        if row is not None and row.alert:
            log.error("provider_needs_attention", account=account, code=plain_code(error.name), meaning=row.meaning)
        trace = plain_code(error.fbtrace_id)
        facts = "; ".join(part for part in (row.meaning if row else "", f"trace {trace}" if trace else "") if part)
        return with_facts(judged, code=error.name, facts=facts)

    return refine


def _without_code(answer: Answer, verdict: Verdict) -> Verdict:
    if answer.status == 429 and answer.is_send:
        return replace(verdict, scope=Scope.LINE)
    return verdict


def _unlisted(answer: Answer, verdict: Verdict) -> Verdict:
    """A code that nobody listed: a 4xx refuses this message and says nothing about the account."""
    verdict = _without_code(answer, verdict)
    if answer.status in (401, 403):
        return Verdict(Ending.REJECTED, Scope.MESSAGE, verdict.code, f"answered {answer.status}")
    return verdict


def _listed(row: Row, error: GraphError, answer: Answer, settings: MetaSettings) -> Verdict:
    reason = f"answered {answer.status} with code {plain_code(error.name)}"
    doubtful = row.ending is Ending.UNKNOWN or error.code in _UNSENT_IF_CONFIGURED - settings.unsent_codes
    if doubtful and answer.is_send:
        return Verdict(Ending.UNKNOWN, Scope.MESSAGE, error.name, reason)
    if row.ending is Ending.REJECTED:
        return Verdict(Ending.REJECTED, row.scope, error.name, reason, suppress=row.suppress)
    scope = Scope.ACCOUNT if row.ending is Ending.UNKNOWN else row.scope
    return Verdict(Ending.UNAVAILABLE, scope, error.name, reason, _wait(row, answer, settings))


def _wait(row: Row, answer: Answer, settings: MetaSettings) -> timedelta | None:
    """The longest of what Meta asks for and what the code asks for, as far as we let ourselves be parked (A-C3)."""
    least = settings.pair_pause if row.scope is Scope.PAIR else row.at_least
    waits = [w for w in (retry_after(answer.headers), regain_access(answer.headers), least) if w is not None]
    return min(max(waits), LONGEST_RETRY_AFTER) if waits else None


def regain_access(headers: Mapping[str, str]) -> timedelta | None:
    """How long the usage header says that calls stay refused; None where it tells nothing usable."""
    read = read_json(headers.get(USAGE_HEADER, "").encode("utf-8", "surrogatepass"))
    uses = as_object(read.value) if isinstance(read, Read) else {}
    minutes = [_minutes(use) for users in (uses.values() if isinstance(uses, dict) else ()) for use in _items(users)]
    longest = max(minutes, default=0.0)
    return timedelta(minutes=min(longest, 60.0)) if longest > 0 else None


def _items(value: object) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _minutes(use: JsonValue) -> float:
    told = use.get("estimated_time_to_regain_access") if isinstance(use, dict) else None
    return float(min(told, 60)) if isinstance(told, int | float) and not isinstance(told, bool) else 0.0
