"""Where an event goes and what it changes about the person: correlation's verdict, and the word on leave to write.

An opt-out reaches further than one engagement: it is written to the person, and every open engagement of that person on
the line hears of it, even where nobody could say which of them the word was meant for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from domain.contacts import AliasKind, OptOutScope
from domain.events import FormAnswered, OptInReceived, OptOutReceived, ProviderEvent, TextReceived, Ties
from gateway.correlation import Attribution, attribute, concerns_nobody
from store.correlations import EXACT_TIES, Findings, Sighting
from store.inbox import Placement
from store.inbox_effects import ContactEffects
from store.inbox_tables import EventState

_NUMBERS = (AliasKind.PHONE, AliasKind.WA_ID)


@dataclass(frozen=True)
class AccountLines:
    """The lines of an account: their names, and by the provider's own ids where it has such."""

    names: tuple[str, ...]
    by_sender: Mapping[str, str] = field(default_factory=dict)

    def heard_on(self, ties: Ties) -> str:
        """The line that an event came to, empty where the provider does not tell or we do not know it."""
        return self.by_sender.get(ties.line_sender, "")


def place(event: ProviderEvent, sighting: Sighting, found: Findings, its: AccountLines) -> Placement:
    """Judge one event of an account that has these lines."""
    heard_on = its.heard_on(event.ties)
    lines = (heard_on,) if heard_on else its.names
    if concerns_nobody(event):
        return Placement(EventState.NO_EFFECT, "by-kind")
    verdict = attribute(sighting, found, heard_on)
    people = _people(verdict, sighting, found)
    told = _effects(event, verdict, people, lines)
    if _proves_sender(sighting, verdict, people, found):
        told = replace(told, learned=event.sender)
    effects = None if told.is_nothing else told
    if isinstance(event.body, OptOutReceived) and event.body.scope != "engagement":
        return _opt_out(verdict, people, effects, found)
    if isinstance(event.body, OptInReceived) and verdict.state is EventState.UNMATCHED and people:
        return Placement(EventState.NO_EFFECT, "opt-in-recorded", contact_id=people[0], effects=effects)
    return _placement(verdict, effects)


def _placement(verdict: Attribution, effects: ContactEffects | None) -> Placement:
    return Placement(
        verdict.state,
        verdict.rule,
        workflow_id=verdict.workflow_id,
        send_key=verdict.send_key,
        contact_id=verdict.contact_id,
        message_of=verdict.message_of,
        may_weaken=not verdict.final,
        effects=effects,
    )


def _people(verdict: Attribution, sighting: Sighting, found: Findings) -> tuple[str, ...]:
    """Everybody whom the event may be from: whom its engagement is with, and whom its addresses name."""
    named = {found.contacts[digest] for digest in sighting.senders if digest in found.contacts}
    return tuple(sorted(named | ({verdict.contact_id} if verdict.contact_id else set())))


def _opt_out(
    verdict: Attribution, people: tuple[str, ...], effects: ContactEffects | None, found: Findings
) -> Placement:
    person = people[0] if len(people) == 1 else verdict.contact_id
    lines = effects.opted_out_of if effects else ()
    engaged = [e.workflow_id for e in found.engaged.get(person, ()) if e.line in lines]
    hearing = list(dict.fromkeys([*([verdict.workflow_id] if verdict.workflow_id else []), *engaged]))
    if hearing:
        return Placement(
            EventState.PENDING,
            verdict.rule if verdict.workflow_id else "opt-out-of-the-line",
            workflow_id=hearing[0],
            send_key=verdict.send_key if hearing[0] == verdict.workflow_id else "",
            contact_id=person,
            also=tuple(hearing[1:]),
            effects=effects,
        )
    if verdict.state is EventState.UNMATCHED and effects is not None:
        return Placement(EventState.NO_EFFECT, "opt-out-recorded", contact_id=person, effects=effects)
    return _placement(verdict, effects)


def _effects(
    event: ProviderEvent, verdict: Attribution, people: tuple[str, ...], lines: tuple[str, ...]
) -> ContactEffects:
    body = event.body
    certain = (verdict.line,) if verdict.line and verdict.rule != "address" else ()
    wrote = isinstance(body, TextReceived | FormAnswered) or (  # a preference without words opens no window
        isinstance(body, OptOutReceived | OptInReceived) and bool(body.text)
    )
    inbound = certain or (lines if len(lines) == 1 else ())  # on which line, of several, is not known: no window opens
    # A preference about marketing stops templates of that category alone, and lifting it again lifts nothing else: a
    # typed stop outlives it, as it outlives a typed START.
    stops = isinstance(body, OptOutReceived) and body.scope != "engagement"
    starts = isinstance(body, OptInReceived)
    marketing = isinstance(body, OptOutReceived | OptInReceived) and body.scope == "marketing"
    return ContactEffects(
        at=event.occurred_at,
        contact_ids=people,
        stranger=event.sender if stops and any(alias.kind in _NUMBERS for alias in event.sender) else (),
        opted_out_of=(certain or lines) if stops else (),
        opted_in_to=(certain or lines) if starts else (),
        scope=OptOutScope.MARKETING if marketing else OptOutScope.LINE,
        wrote_to=inbound if wrote and len(people) == 1 else (),
        source=f"whatsapp-{body.kind}",
    )


def _proves_sender(sighting: Sighting, verdict: Attribution, people: tuple[str, ...], found: Findings) -> bool:
    """Whether an exact tie shows that an address unknown so far is this person's too."""
    unheard = any(digest not in found.contacts for digest in sighting.senders)
    return unheard and len(people) == 1 and verdict.state is EventState.PENDING and verdict.rule in EXACT_TIES
