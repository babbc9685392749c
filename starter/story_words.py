"""The words for every rule that the decision log may name: what a recruiter reads instead of it.

A new rule needs a line here; a test collects the rules from the code and fails for one without words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain import names
from domain.ats import AtsWord
from domain.contacts import OptOutScope
from domain.errors import Scope
from domain.events import FlowRunStatus, MessageStatus
from domain.outcomes import EngagementOutcome
from domain.plans import Condition
from starter.views import LineKind


@dataclass(frozen=True)
class Words:
    """How a decision by one rule is told.

    ``says`` may use ``{step}`` (the message that it is about), ``{text}`` (what the log says without the step's name),
    ``{cause}`` (that up to the follow-up it names) and ``{actor}``. ``exact`` goes before it where the text is known
    word by word. ``ends`` is for when the rule decided the outcome, ``waits`` is what somebody who is held by it waits
    for.
    """

    kind: LineKind
    says: str = "{text}"
    ends: str = "{text}"
    waits: str = ""
    exact: Mapping[str, str] = field(default_factory=dict)


def _held(waits: str) -> Words:
    return Words(LineKind.WAITS, f"{{step}} waits for {waits}: {{text}}", waits=waits)


def _skipped() -> Words:
    return Words(LineKind.NOT_SENT, "{step} was skipped: {text}")


_STATUS = {
    MessageStatus.ACCEPTED.value: "{step} was accepted by WhatsApp",
    MessageStatus.SENT.value: "{step} was passed on to WhatsApp",
    MessageStatus.DELIVERED.value: "{step} was delivered to the phone",
    MessageStatus.READ.value: "{step} was read",
}
_RUN = {
    "the flow is running": "the questions of {step} are open for the candidate",
    f"the flow run ended as {FlowRunStatus.FINISHED}": "the candidate has gone through the questions of {step}",
    f"the flow run ended as {FlowRunStatus.TIMED_OUT}": "the provider closed the questions of {step}: no answer came",
    f"the flow run ended as {FlowRunStatus.CANCELLED}": "the questions of {step} were withdrawn",
    f"the flow run ended as {FlowRunStatus.FAILED}": "the questions of {step} broke off with an error at the provider",
}
_UNKNOWN = {
    "the answer was lost; it may have been sent": "the provider's answer to {step} was lost, so it may have been sent; "
    "nothing is sent again before that is known",
    "stays unknown": "nobody could say whether {step} was sent",
}
_SHARED = (Scope.TEMPLATE, Scope.FLOW, Scope.LINE, Scope.ACCOUNT)

RULES: Mapping[str, Words] = {
    # before anything is sent
    "admitted": Words(LineKind.BEGUN, "accepted: this person may be written to and nothing stands in the way ({text})"),
    "queued": _held("another conversation with this person to end"),
    "no-consent": Words(LineKind.NOT_SENT, ends="nothing shows that this person agreed to be written to ({text})"),
    "opted-out": Words(LineKind.NOT_SENT, ends="this person has asked not to be written to ({text})"),
    "already-busy": Words(LineKind.NOT_SENT, ends="another conversation with this person is under way ({text})"),
    "unknown-contact": Words(LineKind.NOT_SENT),
    "not-registered": Words(LineKind.NOT_SENT),
    "thread-paused": Words(LineKind.WAITS),
    # messages that leave
    "sent": Words(LineKind.SENT, "{step} was sent{again}{content}"),
    "follow-up": Words(LineKind.DUE, "{step} is due, because {cause}"),
    "signal": Words(LineKind.DUE, "{text}"),
    "message-status": Words(LineKind.HEARD, "{step} {text}", exact=_STATUS),
    "flow-run": Words(LineKind.HEARD, "{step}: {text}", exact=_RUN),
    # messages that do not
    "too-late": _skipped(),
    **{f"when-{condition}": _skipped() for condition in Condition},
    "budget-messages": _skipped(),
    "budget-money": _skipped(),
    "done": _skipped(),
    "recalled": Words(LineKind.NOT_SENT, "{step} was called back before it left"),
    "rejected": Words(LineKind.NOT_SENT, "{step} did not leave: {text}"),
    "template": Words(LineKind.NOT_SENT, "{step} did not leave: {text}"),
    "template-follows": Words(LineKind.DUE, "{step}: {text}"),
    # waits
    "template-not-approved": _held("WhatsApp's approval of the template"),
    "category-changed": _held("a person to agree that WhatsApp put the template into another category"),
    "outside-window": _held("the hours in which messages may leave"),
    "capped": _held("the next day or week, since no more messages are allowed"),
    "paused": _held("an operator to resume the line or the tenant"),
    "held": _held("a problem that concerns others as well to be put right"),
    "provider-unavailable": _held("the provider, which does not take messages at present"),
    **{f"{scope}-held": _held(f"a problem of the whole {scope} to be put right") for scope in _SHARED},
    **{f"{scope}-rejected": _held("a person to look: the provider refused it") for scope in Scope},
    "released": Words(LineKind.GOES_ON),
    # lost answers
    "outcome-unknown": Words(LineKind.UNSURE, "{step}: {text}", exact=_UNKNOWN),
    "reconciled": Words(LineKind.UNSURE, "{step}: {text}"),
    "ambiguous": Words(LineKind.UNSURE, "{step}: {text}"),
    "not-known": Words(LineKind.UNSURE, "{step}: the provider knows nothing of it ({text})"),
    # the candidate
    "answered": Words(LineKind.CANDIDATE),
    "flow-finished": Words(LineKind.CANDIDATE),
    "form-answer": Words(LineKind.CANDIDATE),
    "text": Words(LineKind.CANDIDATE),
    "cancelled-by-candidate": Words(LineKind.CANDIDATE),
    "opt-in": Words(LineKind.CANDIDATE),
    **{f"opt-out-{scope}": Words(LineKind.CANDIDATE) for scope in (*OptOutScope, "engagement")},
    "contact-changed": Words(LineKind.NOTE, "{text} (told by {actor})"),
    "suppressed": Words(LineKind.CANDIDATE),
    # operators and the recruiter's system
    names.STOP: Words(LineKind.OPERATOR, ends="{actor} stopped it: {text}"),
    names.HAND_OVER: Words(LineKind.OPERATOR, ends="{actor} gave it to a person: {text}"),
    names.MARK_ANSWERED: Words(
        LineKind.OPERATOR, ends="{actor} noted that the candidate answered by another way: {text}"
    ),
    names.PAUSE: Words(LineKind.OPERATOR, "{actor} paused it, so {text}"),
    names.RESUME: Words(LineKind.OPERATOR, "{actor} {text}; deadlines moved by the time that it was paused"),
    names.MIGRATE_PLAN: Words(LineKind.OPERATOR, "{actor} moved it to another version of its plan: {text}"),
    names.RESEND: Words(LineKind.OPERATOR, "{actor} had it sent once more, though it may have arrived: {text}"),
    names.RESOLVE_SEND: Words(LineKind.OPERATOR, "{actor} looked what became of {step}: {text}"),
    names.ATS_STATUS: Words(LineKind.ATS),
    **{f"ats-{word}": Words(LineKind.ATS, f"the recruiter's system says {word}: {{text}}") for word in AtsWord},
    "ats-not-told": Words(LineKind.ATS),
    # ends that nobody chose
    "silence": Words(LineKind.OUTCOME, ends="{text}"),
    "expired": Words(LineKind.OUTCOME),
    "cancelled": Words(LineKind.OUTCOME, ends="somebody with access to Temporal cancelled it there"),
    "template-variables": Words(LineKind.OUTCOME),
    "template-refused": Words(LineKind.OUTCOME, ends="WhatsApp does not allow the template: {text}"),
    "template-missing": Words(LineKind.OUTCOME),
    "recipient-rejected": Words(LineKind.OUTCOME, ends="the provider cannot reach this person: {text}"),
    "message-rejected": Words(LineKind.OUTCOME, ends="the provider does not take this message: {text}"),
    "gate-refused": Words(LineKind.OUTCOME),
    "policy": Words(LineKind.OUTCOME),
    "undeliverable": Words(LineKind.OUTCOME),
    "flow-failed": Words(LineKind.OUTCOME),
    "run-cancelled": Words(LineKind.OUTCOME),
    # another line
    "fallback-line": Words(LineKind.GOES_ON),
    "stays": Words(LineKind.NOTE),
    # the rest
    "ended": Words(LineKind.NOTE),
    "not-ended": Words(LineKind.NOTE),
    "no-effect": Words(LineKind.NOTE, "nothing follows from this: {text}"),
}

OUTCOMES: Mapping[EngagementOutcome, str] = {
    EngagementOutcome.COMPLETED: "Completed",
    EngagementOutcome.DECLINED: "Declined by the candidate",
    EngagementOutcome.OPTED_OUT: "Ended, the candidate does not want to be written to",
    EngagementOutcome.NO_REPLY: "Closed without an answer",
    EngagementOutcome.UNREACHABLE: "Ended, messages do not reach this person",
    EngagementOutcome.MISCONFIGURED: "Ended, something is set up wrongly",
    EngagementOutcome.TEMPLATE_REJECTED: "Ended, the message template may not be used",
    EngagementOutcome.EXPIRED: "Ended, the message could not leave in time",
    EngagementOutcome.STOPPED: "Stopped by an operator",
    EngagementOutcome.HANDED_OVER: "Handed over to a person",
    EngagementOutcome.WITHDRAWN: "Withdrawn",
    EngagementOutcome.REFUSED: "Not begun",
}

PLAIN: tuple[tuple[str, str], ...] = (
    (r", at gate:\S+", ""),
    (r"\bgate:\S+ to open", "what holds it back to be put right"),
    (r"\bengagement:\S+?(?=[\s,;:()]|$)", "the message"),
    (r"\b(account|line|template|flow|tenant):([^\s,;()]+)", r"the \1 \2"),
    (r"no answer; the provider, asked, has nothing", "no answer came, and the provider was asked and has none either"),
    (r"no answer; nothing came", "no answer came in the time that the plan allows"),
    (r"the plan hands over", "the plan gives silence to a person"),
    (r"\bthe ATS\b", "the recruiter's system"),
    (r"^close as no reply$", "it is closed without an answer"),
    (r"^hand over$", "it is given to a person"),
    (r"\bits turn came too late\b", "its turn came when the hours were over"),
    (r"\bwhich is its cap\b", "which is the most that is allowed"),
    (r"\bit is looked at again\b", "all is checked again before it leaves"),
    (r"\bthe flow started\b", "the questions are open for the candidate"),
    (r"\bkeeps waiting for the flow\b", "keeps waiting for the answers to its questions"),
    (r"\bno flow is under way\b", "the candidate has none of its questions open"),
    (r"^not delivered \(no code\)", "was not delivered"),
    (r"^not delivered \((.+)\)", r"was not delivered (error \1 of the provider)"),
    (r"^the provider refused it \((\w+) (\w+)\)", r"the provider refused it (error \2)"),
    (r"^resumed: ", "resumed it: "),
    (r"^paused, nothing leaves: ", "nothing leaves: "),
)
"""Words of ours that a reader cannot know, and what to read for them."""
