"""Which engagement an event belongs to. Pure: it judges what the store found, and asks nothing itself.

The most exact tie decides. Ties that name different engagements decide nothing: the event is parked for a person. What
only a person's address could tie is tied by it when there is exactly one engagement that it can mean, and only where
that is harmless: a free text or an opt-out, never a form's answer or the end of a flow run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from domain.events import FlowChanged, FlowRunChanged, FormAnswered, NotUnderstood, ProviderEvent, TemplateChanged
from domain.sends import LedgerState
from store.correlations import EXACT_TIES, Findings, SendTie, Sighting, exact_tie
from store.inbox_tables import EventState

CLOCK_SKEW = timedelta(seconds=30)
"""How far a provider's clock may be behind ours when we ask whether something happened after a send (A-R11)."""

_NAMELESS = (LedgerState.CALLING, LedgerState.UNKNOWN)
"""States of a send that may have left and whose ids at the provider nobody has told yet."""
_REACHED_NOBODY = (LedgerState.FREE, LedgerState.NOT_SENT, LedgerState.REJECTED)


@dataclass(frozen=True)
class Attribution:
    """Where an event goes: ``PENDING`` for ``workflow_id``, ``LATE``, or why it goes nowhere (yet).

    ``rule`` names what decided. ``final`` forbids weaker ties at a later try: the engagement that an old text could
    mean may be another one by then.
    """

    state: EventState
    rule: str
    workflow_id: str = ""
    send_key: str = ""
    contact_id: str = ""
    line: str = ""
    message_of: str = ""
    """The send whose message it is about, if it is about one; empty where nobody can say."""
    final: bool = False


def concerns_nobody(event: ProviderEvent) -> bool:
    """Whether an event is of a kind that belongs to no engagement."""
    return isinstance(event.body, TemplateChanged | FlowChanged | NotUnderstood)


def may_tie_weakly(event: ProviderEvent) -> bool:
    """Whether a thread alone may tie an event: not a form's answer, and nothing that a run of its own explains."""
    return not event.ties.run_id and not isinstance(event.body, FormAnswered | FlowRunChanged)


def attribute(sighting: Sighting, found: Findings, heard_on: str = "") -> Attribution:
    """Judge one event by what the store found for it. ``heard_on``: the line that it came to, where that is known."""
    exact = _by_exact_ties(sighting, found)
    if exact is not None:
        return exact
    if sighting.ties.reference or sighting.ties.flow_token:
        return Attribution(EventState.UNMATCHED, "reference-unknown")  # perhaps not stored yet; nothing weaker counts
    if not sighting.may_weaken:
        return Attribution(EventState.UNMATCHED, "no-tie")
    for judge in (_by_lost_answer, _by_lost_session, _by_thread, _by_address):
        weak = judge(sighting, found.on_line(heard_on) if heard_on else found)
        if weak is not None:
            return weak
    return Attribution(EventState.UNMATCHED, "no-tie")


def _by_exact_ties(sighting: Sighting, found: Findings) -> Attribution | None:
    named: list[tuple[str, SendTie]] = [
        (tie, send) for tie in EXACT_TIES for send in found.sends.get((tie, exact_tie(sighting.ties, tie)), ())
    ]
    if not named:
        return None
    if len({send.workflow_id for _, send in named}) > 1:
        return Attribution(EventState.PARKED, "ties-disagree")
    rule, first = named[0]
    return _matched(rule, [send for tie, send in named if tie == rule], first)


def _by_lost_answer(sighting: Sighting, found: Findings) -> Attribution | None:
    """A run in the thread of a send whose answer was lost: same flow, not before the send, and nobody else's run."""
    if not (sighting.ties.run_id and sighting.ties.thread_id and sighting.ties.flow_id):
        return None
    fitting = [
        send
        for send in _before(sighting, found.on_thread.get(sighting.ties.thread_id, ()))
        if send.flow_id == sighting.ties.flow_id and _is_nameless(send)
    ]
    return _only_lost(fitting, "thread-flow-time")


def _by_lost_session(sighting: Sighting, found: Findings) -> Attribution | None:
    """A conversation of the person whom a send with a lost answer was for: same flow, same template, not before it.

    All four together are a tie where a provider has no threads and tells no reference; an address alone is none.
    """
    ties = sighting.ties
    if not (ties.session_id and ties.flow_id and ties.template_id):
        return None
    people = {found.contacts[digest] for digest in sighting.senders if digest in found.contacts}
    fitting = [
        send
        for contact in people
        for send in _before(sighting, found.to_contact.get(contact, ()))
        if (send.flow_id, send.template_id) == (ties.flow_id, ties.template_id) and _is_nameless(send)
    ]
    return _only_lost(fitting, "address-flow-template-time")


def _by_thread(sighting: Sighting, found: Findings) -> Attribution | None:
    if not (sighting.ties.thread_id and sighting.thread_may_tie):
        return None
    sends = _before(sighting, found.on_thread.get(sighting.ties.thread_id, ()))
    if sends and not _open(sends) and not sighting.may_fall_back:  # what a person wrote is for a person to read
        over = {send.workflow_id for send in sends}
        return Attribution(EventState.LATE, "thread", workflow_id=over.pop() if len(over) == 1 else "")
    verdict = _only(_open(sends), "thread")
    if verdict is None or verdict.final:
        return verdict
    return replace(verdict, message_of=_latest_unnamed(_open(sends)))


def _by_address(sighting: Sighting, found: Findings) -> Attribution | None:
    if not sighting.may_fall_back:
        return None
    people = {found.contacts[digest] for digest in sighting.senders if digest in found.contacts}
    if len(people) > 1:
        return Attribution(EventState.PARKED, "addresses-disagree")
    sends = _before(sighting, [send for contact in people for send in found.to_contact.get(contact, ())])
    if sighting.ties.replied_to and any(send.state in _NAMELESS and not send.is_open for send in sends):
        return None  # it quotes a message that we do not know, and that may be one of an engagement that has ended
    verdict = _only(_open(sends), "address")
    # the words of a person prove no send, so none is named: it would adopt the id of whatever message they quote
    return verdict and replace(verdict, send_key="", message_of="")


def _is_nameless(send: SendTie) -> bool:
    """Whether nobody has told a send's ids at the provider yet; a person may have said that it left, without them."""
    return send.state in (*_NAMELESS, LedgerState.SENT) and not (send.run_id or send.session_id)


def _only_lost(sends: list[SendTie], rule: str) -> Attribution | None:
    """As ``_only``. While a send is still on its way its answer is about to tell its ids: the event waits for that."""
    return None if any(send.state is LedgerState.CALLING for send in sends) else _only(sends, rule)


def _only(sends: list[SendTie], rule: str) -> Attribution | None:
    """The one engagement that all ``sends`` belong to; several are ambiguous for ever, none leaves it open."""
    engagements = {send.workflow_id for send in sends}
    if not engagements:
        return None
    if len(engagements) > 1:
        return Attribution(EventState.UNMATCHED, f"{rule}-ambiguous", final=True)
    return _matched(rule, sends, sends[0])


def _matched(rule: str, sends: list[SendTie], first: SendTie) -> Attribution:
    keys = {send.send_key for send in sends}
    send_key = keys.pop() if len(keys) == 1 else ""
    return Attribution(
        EventState.PENDING,
        rule,
        workflow_id=first.workflow_id,
        send_key=send_key,
        contact_id=first.contact_id,
        line=first.line,
        message_of=send_key,
    )


def _latest_unnamed(sends: list[SendTie]) -> str:
    """Of sends that share a thread the latest whose message has no id yet: one with an id is tied by that alone."""
    return next((send.send_key for send in reversed(sends) if not send.message_id), "")


def _before(sighting: Sighting, sends: Sequence[SendTie]) -> list[SendTie]:
    """The sends that may have reached the person before this happened."""
    return [
        send
        for send in sends
        if send.state not in _REACHED_NOBODY
        and send.claimed_at is not None
        and send.claimed_at - CLOCK_SKEW <= sighting.occurred_at
    ]


def _open(sends: list[SendTie]) -> list[SendTie]:
    return [send for send in sends if send.is_open]
