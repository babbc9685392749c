"""What erasing a person does to every column of the store. A test holds this to the tables, column by column."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import JSON, Column, LargeBinary, Table

from store.ats_tables import ats_deliveries, ats_notices
from store.erasure_tables import erasures, suppressions
from store.inbox_tables import inbox_deliveries, inbox_events, inbox_relays
from store.tables import (
    consents,
    contact_aliases,
    contact_lines,
    contacts,
    engagements,
    holds,
    idempotency_keys,
    keys,
    opt_ins,
    opt_outs,
    pauses,
    queue_leases,
    sends,
    store_host,
    template_states,
    template_submissions,
    worker_processes,
)

NOBODYS: Final[frozenset[Table]] = frozenset(
    {
        store_host,
        holds,
        pauses,
        template_states,
        template_submissions,
        queue_leases,
        worker_processes,
        inbox_relays,  # which engagement wants its events when
        inbox_deliveries,  # read within moments, and its body is gone with that; nobody can say whose an unread one is
    }
)
"""Tables of which no row belongs to a person."""

DELETED: Final[frozenset[Table]] = frozenset(
    {
        contacts,
        contact_aliases,
        consents,
        opt_outs,  # what is in force goes on in suppressions
        opt_ins,
        contact_lines,
        ats_notices,
        idempotency_keys,  # those that were answered with one of the person's engagements
    }
)
"""Tables whose rows of the person go as a whole."""

EMPTIED: Final[Mapping[Table, frozenset[str]]] = {
    engagements: frozenset({"fingerprints", "input"}),
    sends: frozenset({"run_id", "message_id", "session_id", "thread_id", "reason"}),
    keys: frozenset({"wrapped"}),
    inbox_events: frozenset({"contact_id", "sighting", "payload"}),
    ats_deliveries: frozenset({"reason", "body"}),
}
"""Columns that lose what they hold; the row stays. Ids of a provider's lead to a person, and may even hold the number
(a message id of WhatsApp's does); a reason may repeat what the provider said of it."""

REWRITTEN: Final[Mapping[Table, frozenset[str]]] = {
    engagements: frozenset({"archive", "outcome", "closed_at", "erased_at"}),
    keys: frozenset({"destroyed_at"}),
    inbox_events: frozenset({"state", "rule", "due_at", "settled_at"}),
    erasures: frozenset({"erased_at", "counts", "cleared_at"}),
}
"""Columns that say afterwards what became of the row. An archive keeps its audit texts and loses all else."""

KEPT: Final[Mapping[Table, frozenset[str]]] = {
    engagements: frozenset(
        {
            *("tenant", "reference", "workflow_id", "contact_id", "line", "account", "provider", "job", "plan"),
            *("key_id", "created_at", "started_at", "admitted_at", "admission_rule", "admission_reason"),
        }
    ),
    sends: frozenset(
        {
            *("key", "workflow_id", "tenant", "account", "line", "step", "n", "contact_id", "job", "state", "attempt"),
            *("reference", "flow_token", "flow_id", "template", "template_id", "language", "scope", "code", "suppress"),
            *("form", "inbound_at", "claimed_at", "left_at", "arrived", "settled_at"),
        }
    ),
    keys: frozenset({"id", "contact_id", "purpose", "tenant", "master_id", "created_at"}),
    inbox_events: frozenset(
        {
            *("id", "delivery_id", "provider", "account", "key_digest", "kind"),
            *("workflow_id", "send_key", "received_at"),
        }
    ),
    ats_deliveries: frozenset(
        {
            *("id", "tenant", "key_digest", "form", "state", "status", "reference", "job", "failures", "reached"),
            *("cursor", "received_at", "due_at", "settled_at"),
        }
    ),
    erasures: frozenset({"contact_id", "asked_at", "actor", "reason"}),
    suppressions: frozenset({"digest", "scope", "scope_value", "at"}),
}
"""Columns that stay as they are: structure, instants, ids of ours that lead to nobody any more, keyed hashes."""


def emptied(table: Table) -> dict[str, object]:
    """What the emptied columns of a table hold afterwards."""
    return {name: _nothing(table.c[name]) for name in EMPTIED[table]}


def _nothing(column: Column[object]) -> object:
    if column.nullable:
        return None
    if isinstance(column.type, JSON):
        return {}
    return b"" if isinstance(column.type, LargeBinary) else ""
