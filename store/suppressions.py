"""Opt-outs that outlive the person's data: kept by the keyed hash of each alias, in force again when one comes back."""

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from store.database import insert_new
from store.erasure_tables import suppressions
from store.tables import contact_aliases, opt_ins, opt_outs

SOURCE = "in force before the person was erased"

_S = suppressions.c
_KEPT = select(_S.scope, _S.scope_value, _S.at).where(_S.digest == bindparam("digest")).order_by(_S.scope)


def suppress_within(connection: Connection, contact_id: str) -> int:
    """Keep what a person opted out of under each of their aliases; what they lifted since is dropped. How many rows."""
    digests = connection.execute(
        select(contact_aliases.c.digest).where(contact_aliases.c.contact_id == contact_id)
    ).scalars()
    o = opt_outs.c
    in_force = connection.execute(
        select(o.scope, o.scope_value, o.at)
        .where(o.contact_id == contact_id, o.lifted_at.is_(None))
        .order_by(o.at)  # of several of one scope the last one counts: a START has to be later than that
    ).all()
    latest = {(row.scope, row.scope_value): row.at for row in in_force}
    known = sorted(digests)
    connection.execute(delete(suppressions).where(suppressions.c.digest.in_(known)))
    rows = [
        {"digest": digest, "scope": scope, "scope_value": value, "at": at}
        for digest in known
        for (scope, value), at in latest.items()
    ]
    if rows:
        connection.execute(insert(suppressions), rows)
    return len(rows)


def restore_within(connection: Connection, contact_id: str, digest: bytes) -> None:
    """Give a contact the opt-outs that are kept under an alias it has just got; repeating is harmless."""
    kept = connection.execute(_KEPT, {"digest": digest}).all()
    for row in kept:
        back = opt_ins.c.contact_id, opt_ins.c.scope, opt_ins.c.scope_value
        same = [column == value for column, value in zip(back, (contact_id, row.scope, row.scope_value), strict=True)]
        later_start = select(func.min(opt_ins.c.at)).where(*same, opt_ins.c.at > row.at)
        values: dict[str, object] = {
            "contact_id": contact_id,
            "scope": row.scope,
            "scope_value": row.scope_value,
            "source": SOURCE,
            "at": row.at,
            "lifted_at": connection.execute(later_start).scalar_one(),
        }
        insert_new(connection, opt_outs, values, key=["id"])
