"""Leave to write to a person: consents, opt-outs and what lifts them, inside a transaction of the caller's.

Instants are the provider's or the caller's own, never the instant of arrival: an opt-out that arrives after the START
which followed it does not count, and one that ties with it does.
"""

from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Select, and_, bindparam, func, or_, select, update

from domain.contacts import Consent, OptOut, OptOutScope, Reach
from domain.errors import NotFound
from store.aliases import lock_contact
from store.database import insert_new
from store.tables import consents, opt_ins, opt_outs

__all__ = [
    "Reach",
    "has_consent_within",
    "opt_in_within",
    "opt_out_in_force",
    "opt_out_within",
    "record_consent_within",
]

_CONSENT = (
    select(consents.c.id)
    .where(consents.c.contact_id == bindparam("contact"), consents.c.tenant == bindparam("tenant"))
    .limit(1)
)


def record_consent_within(connection: Connection, contact_id: str, tenant: str, consent: Consent) -> None:
    """Keep the evidence of an opt-in; repeating is harmless. Lifts no opt-out. Raises ``NotFound``."""
    _need(connection, contact_id)
    insert_new(
        connection,
        consents,
        {"contact_id": contact_id, "tenant": tenant, "source": consent.source, "obtained_at": consent.obtained_at},
        key=["contact_id", "tenant", "source", "obtained_at"],
    )


def has_consent_within(connection: Connection, contact_id: str, tenant: str) -> bool:
    """Whether this tenant ever got the person's opt-in."""
    return connection.execute(_CONSENT, {"contact": contact_id, "tenant": tenant}).first() is not None


def opt_out_within(connection: Connection, contact_id: str, opt_out: OptOut) -> None:
    """Record a withdrawal of consent; repeating is harmless. Raises ``NotFound`` for an unknown contact."""
    _need(connection, contact_id)
    later_start = select(func.min(opt_ins.c.at)).where(
        opt_ins.c.contact_id == contact_id,
        opt_ins.c.scope == opt_out.scope.value,
        opt_ins.c.scope_value == opt_out.scope_value,
        opt_ins.c.at > opt_out.at,
    )
    insert_new(
        connection,
        opt_outs,
        {
            "contact_id": contact_id,
            "scope": opt_out.scope.value,
            "scope_value": opt_out.scope_value,
            "source": opt_out.source,
            "at": opt_out.at,
            "lifted_at": connection.execute(later_start).scalar_one(),
        },
        key=["contact_id", "scope", "scope_value", "source", "at"],
    )


def opt_in_within(  # noqa: PLR0917 - an opt-in has these parts, as ``Contacts.opt_in``
    connection: Connection, contact_id: str, scope: OptOutScope, scope_value: str, at: datetime, source: str = ""
) -> None:
    """Record that consent was restored at ``at`` and lift every earlier opt-out of exactly this scope.

    Repeating is harmless. Raises ``NotFound`` for an unknown contact.
    """
    _need(connection, contact_id)
    insert_new(
        connection,
        opt_ins,
        {"contact_id": contact_id, "scope": scope.value, "scope_value": scope_value, "source": source, "at": at},
        key=["contact_id", "scope", "scope_value", "source", "at"],
    )
    connection.execute(
        update(opt_outs)
        .where(
            opt_outs.c.contact_id == contact_id,
            opt_outs.c.scope == scope.value,
            opt_outs.c.scope_value == scope_value,
            opt_outs.c.at < at,
            opt_outs.c.lifted_at.is_(None),
        )
        .values(lifted_at=at)
    )


def opt_out_in_force(connection: Connection, contact_id: str, reach: Reach) -> OptOutScope | None:
    """The scope of an opt-out that forbids a message of this reach; None when there is none.

    Every opt-out that is not lifted counts, whatever its instant: a clock that differs must not let a message pass.
    """
    values = reach.values()
    covers = {scope.value: value for scope, value in values.items()}
    found = connection.execute(_in_force(tuple(values)), {"contact": contact_id} | covers).scalar_one_or_none()
    return None if found is None else OptOutScope(found)


@cache
def _in_force(scopes: tuple[OptOutScope, ...]) -> Select[str]:
    """The first opt-out in one of these scopes; the value that it covers is a parameter of the scope's name."""
    c = opt_outs.c
    covers = or_(*(and_(c.scope == scope.value, c.scope_value == bindparam(scope.value)) for scope in scopes))
    found = select(c.scope).where(c.contact_id == bindparam("contact"), c.lifted_at.is_(None), covers)
    return found.order_by(c.at, c.id).limit(1)


def _need(connection: Connection, contact_id: str) -> None:
    if not lock_contact(connection, contact_id):
        raise NotFound(f"There is no contact {contact_id}: it was erased, or never resolved")
