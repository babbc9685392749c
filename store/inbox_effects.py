"""What an event changes about a person, in the transaction that stores it: leave to write, last inbound, aliases."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from domain.contacts import Alias, OptOut, OptOutScope
from domain.errors import NotFound
from store.aliases import lock_contacts
from store.contacts import (
    learn_within,
    opt_in_within,
    opt_out_within,
    record_inbound_within,
    record_inbounds_within,
    resolve_within,
)
from store.keys import KeyRing


@dataclass(frozen=True)
class ContactEffects:
    """What one event says of the people that it may be from. ``at`` is the provider's instant."""

    at: datetime
    contact_ids: tuple[str, ...] = ()
    stranger: tuple[Alias, ...] = ()
    """Aliases to make a contact of when none is known, so that an opt-out is not forgotten."""
    opted_out_of: tuple[str, ...] = ()
    """Lines."""
    opted_in_to: tuple[str, ...] = ()
    """Lines."""
    scope: OptOutScope = OptOutScope.LINE
    """What of those lines: everything, or marketing alone."""
    wrote_to: tuple[str, ...] = ()
    """Lines."""
    learned: tuple[Alias, ...] = ()
    """Other aliases of the one contact, proven by an exact tie."""
    source: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether there is nobody to change or nothing to change."""
        told = self.opted_out_of or self.opted_in_to or self.wrote_to or self.learned
        return not told or not (self.contact_ids or self.stranger)


def apply_within(connection: Connection, keys: KeyRing, several: Iterable[ContactEffects]) -> None:
    """Write the effects of events, given in order of arrival; repeating is harmless.

    People come in one order everywhere, so that no two transactions wait for each other. A contact that was erased
    meanwhile stays erased.
    """
    told = list(several)
    known = [(contact_id, effects) for effects in told for contact_id in effects.contact_ids]
    there = lock_contacts(connection, {contact_id for contact_id, _ in known}) if known else set[str]()
    known = [(contact_id, effects) for contact_id, effects in known if contact_id in there]
    for contact_id, effects in sorted(known, key=lambda pair: pair[0]):  # stable: one person's stay in their order
        _apply_if_there(connection, keys, contact_id, effects)
    wrote: dict[tuple[str, str], datetime] = {}
    for contact_id, effects in known:
        for line in effects.wrote_to:
            wrote[contact_id, line] = max(effects.at, wrote.get((contact_id, line), effects.at))
    if wrote:
        record_inbounds_within(connection, wrote)
    strangers = [effects for effects in told if not effects.contact_ids and effects.stranger and effects.opted_out_of]
    for effects in sorted(strangers, key=lambda one: min(map(keys.alias_digest, one.stranger))):
        contact_id = resolve_within(connection, keys, effects.stranger)
        _apply_if_there(connection, keys, contact_id, effects)
        for line in effects.wrote_to:
            record_inbound_within(connection, contact_id, line, effects.at)


def _apply_if_there(connection: Connection, keys: KeyRing, contact_id: str, effects: ContactEffects) -> None:
    with suppress(NotFound):
        _apply(connection, keys, contact_id, effects)


def _apply(connection: Connection, keys: KeyRing, contact_id: str, effects: ContactEffects) -> None:
    for line in effects.opted_out_of:
        opt_out = OptOut(scope=effects.scope, scope_value=line, source=effects.source, at=effects.at)
        opt_out_within(connection, contact_id, opt_out)
    for line in effects.opted_in_to:
        opt_in_within(connection, contact_id, effects.scope, line, effects.at, effects.source)
    if effects.learned:
        learn_within(connection, keys, contact_id, effects.learned)
