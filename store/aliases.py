"""Recognising a person by any of their aliases, inside a transaction of the caller's."""

import secrets
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from domain.contacts import Alias
from domain.errors import BadInput, Mistake
from store.clock import bookkeeping_now
from store.database import insert_new
from store.keys import KeyRing
from store.suppressions import restore_within
from store.tables import contact_aliases, contacts

_CONTACT = select(contacts.c.id).where(contacts.c.id == bindparam("contact"))
# the weaker form, FOR NO KEY UPDATE, does not stop rows that merely refer to the contact, such as aliases
_LOCKED = _CONTACT.with_for_update(key_share=True)
_KEPT = _CONTACT.with_for_update(read=True, key_share=True)
_ALL_LOCKED = (
    select(contacts.c.id)
    .where(contacts.c.id.in_(bindparam("them", expanding=True)))
    .order_by(contacts.c.id)
    .with_for_update(key_share=True)
)
_OWNER = select(contact_aliases.c.contact_id).where(contact_aliases.c.digest == bindparam("digest"))


def find_within(connection: Connection, keys: KeyRing, aliases: Sequence[Alias]) -> str | None:
    """The contact that the first known of ``aliases`` names; None when none is known. Order them best first."""
    digests = [keys.alias_digest(alias) for alias in aliases]
    known = {
        row.digest: row.contact_id
        for row in connection.execute(
            select(contact_aliases.c.digest, contact_aliases.c.contact_id).where(contact_aliases.c.digest.in_(digests))
        )
    }
    return next((known[digest] for digest in digests if digest in known), None)


def resolve_within(connection: Connection, keys: KeyRing, aliases: Sequence[Alias]) -> str:
    """The contact of ``aliases``, created when none is known. Two at once get the same one.

    Aliases that are not known yet are added. Raises ``BadInput`` without any alias.
    """
    if not aliases:
        raise BadInput([Mistake("a contact needs at least one alias", field="aliases")])
    found = find_within(connection, keys, aliases)
    if found is None:
        return _create(connection, keys, aliases)
    learn_within(connection, keys, found, aliases)
    return found


def learn_within(connection: Connection, keys: KeyRing, contact_id: str, aliases: Sequence[Alias]) -> int:
    """Add aliases to a contact. Returns how many were left alone because they name another contact.

    Nothing is learned of a contact that does not exist (any more): an erased person must not come back.
    """
    if not aliases or not _keep_contact(connection, contact_id):
        return 0
    return sum(_claim(connection, keys, contact_id, alias) != contact_id for alias in _ordered(keys, aliases))


def lock_contact(connection: Connection, contact_id: str) -> bool:
    """Let no other transaction decide about this contact until this one ends. False when there is no such contact."""
    return connection.execute(_LOCKED, {"contact": contact_id}).one_or_none() is not None


def lock_contacts(connection: Connection, contact_ids: Collection[str]) -> set[str]:
    """``lock_contact`` for several, in the order in which everybody locks them. Those that are there."""
    return set(connection.execute(_ALL_LOCKED, {"them": sorted(contact_ids)}).scalars())


def _keep_contact(connection: Connection, contact_id: str) -> bool:
    """Let nobody erase this contact until the transaction ends. False when there is no such contact."""
    return connection.execute(_KEPT, {"contact": contact_id}).one_or_none() is not None


def _create(connection: Connection, keys: KeyRing, aliases: Sequence[Alias]) -> str:
    mine = f"ct_{secrets.token_hex(16)}"
    connection.execute(insert(contacts).values(id=mine, created_at=bookkeeping_now()))
    for alias in _ordered(keys, aliases):
        owner = _claim(connection, keys, mine, alias)
        if owner != mine:  # another transaction was faster: give its contact what is ours and forget ours
            connection.execute(
                update(contact_aliases).where(contact_aliases.c.contact_id == mine).values(contact_id=owner)
            )
            connection.execute(delete(contacts).where(contacts.c.id == mine))
            for digest in map(keys.alias_digest, aliases):
                restore_within(connection, owner, digest)
            learn_within(connection, keys, owner, aliases)
            return owner
    return mine


def _claim(connection: Connection, keys: KeyRing, contact_id: str, alias: Alias) -> str:
    """The contact that ``alias`` names after trying to give it to ``contact_id``."""
    digest = keys.alias_digest(alias)
    created = insert_new(
        connection,
        contact_aliases,
        {
            "digest": digest,
            "contact_id": contact_id,
            "kind": alias.kind.value,
            "scope": alias.scope,
            "learned_at": bookkeeping_now(),
        },
        key=["digest"],
    )
    if created:
        restore_within(connection, contact_id, digest)  # who was erased and comes back is still opted out
        return contact_id
    owner: str = connection.execute(_OWNER, {"digest": digest}).scalar_one()
    return owner


def _ordered(keys: KeyRing, aliases: Sequence[Alias]) -> list[Alias]:
    """In one order everywhere, so that two transactions never wait for each other's aliases."""
    return sorted(aliases, key=keys.alias_digest)
