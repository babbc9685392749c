"""What the store knows of a person, as an operator may see it: no number, no name, no id of a provider's."""

from sqlalchemy import Connection, select

from domain.contacts import AliasKind, OptOutScope
from domain.errors import NotFound
from domain.model import Instant, Model
from store.tables import consents, contact_aliases, contact_lines, contacts, opt_ins, opt_outs


class KnownAlias(Model):
    """That the person can be recognised by something of this kind; the thing itself is kept as a keyed hash only."""

    kind: AliasKind
    scope: str = ""
    learned_at: Instant


class KnownConsent(Model):
    """Evidence of an opt-in."""

    tenant: str
    source: str
    obtained_at: Instant


class KnownOptOut(Model):
    """Evidence of an opt-out; in force until it was lifted."""

    scope: OptOutScope
    scope_value: str = ""
    source: str
    at: Instant
    lifted_at: Instant | None = None


class KnownOptIn(Model):
    """Evidence that an opt-out was taken back."""

    scope: OptOutScope
    scope_value: str = ""
    source: str
    at: Instant


class KnownLine(Model):
    """When the person last wrote to a line."""

    line: str
    last_inbound_at: Instant


class ContactRecord(Model):
    """Everything that is kept of a person but the keys to recognise them."""

    contact_id: str
    created_at: Instant
    aliases: tuple[KnownAlias, ...] = ()
    consents: tuple[KnownConsent, ...] = ()
    opt_outs: tuple[KnownOptOut, ...] = ()
    opt_ins: tuple[KnownOptIn, ...] = ()
    lines: tuple[KnownLine, ...] = ()


def record_within(connection: Connection, contact_id: str) -> ContactRecord:
    """Read it inside a transaction of the caller's. Raises ``NotFound``."""
    row = connection.execute(select(contacts).where(contacts.c.id == contact_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no contact {contact_id}: it was erased, or never resolved")
    a, c, o, i, w = contact_aliases.c, consents.c, opt_outs.c, opt_ins.c, contact_lines.c
    aliases = select(a.kind, a.scope, a.learned_at).where(a.contact_id == contact_id).order_by(a.learned_at, a.kind)
    agreed = select(consents).where(c.contact_id == contact_id).order_by(c.obtained_at, c.id)
    outs = select(opt_outs).where(o.contact_id == contact_id).order_by(o.at, o.id)
    ins = select(opt_ins).where(i.contact_id == contact_id).order_by(i.at, i.id)
    wrote = select(contact_lines).where(w.contact_id == contact_id).order_by(w.line)
    read = {
        "aliases": aliases,
        "consents": agreed,
        "opt_outs": outs,
        "opt_ins": ins,
        "lines": wrote,
    }
    found = {name: [dict(one) for one in connection.execute(wanted).mappings()] for name, wanted in read.items()}
    return ContactRecord.model_validate({"contact_id": contact_id, "created_at": row["created_at"], **found})
