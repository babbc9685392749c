"""What an event says of a template or a flow: what is written about it, and at which gates somebody may wait for it.

Both are settled in the transaction that stores the event, so a gate hears of exactly what the event changed.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from domain.events import FlowChanged, ProviderEvent, TemplateChanged
from domain.holds import HoldRow
from domain.ids import flow_scope, gate_workflow_id, template_scope
from store.holds import end_within, hold_within
from store.inbox_tables import LONGEST_WORKFLOW_ID
from store.templates import lock_within, mark_stale_within, named_within

PUBLISHED = "PUBLISHED"
"""The only status of a flow in which it may be sent."""


def gates_within(connection: Connection, account: str, event: ProviderEvent) -> tuple[str, ...]:
    """Workflow ids of the gates that an event concerns; nobody may be waiting there."""
    match event.body:
        case TemplateChanged() as body:
            names = named_within(connection, account, body.template_id, body.name, body.language)
            scopes = [template_scope(account, name, language) for name, language in names]
        case FlowChanged() as body:
            scopes = [flow_scope(account, body.flow_id)]
        case _:
            return ()
    gates = (gate_workflow_id(scope) for scope in scopes)
    return tuple(gate for gate in gates if len(gate) <= LONGEST_WORKFLOW_ID)


def apply_within(connection: Connection, told: Sequence[tuple[str, ProviderEvent]], now: datetime) -> None:
    """Write what events say, given with their accounts in order of arrival.

    A template is to be read again; a flow that is not published holds its sends. Rows are locked in one order
    everywhere, so that no two transactions wait for each other.
    """
    templates = [(account, event, body) for account, event in told if isinstance(body := event.body, TemplateChanged)]
    lock_within(connection, [(account, body.template_id, body.name, body.language) for account, _, body in templates])
    for account, event, body in templates:
        # The earlier of both clocks: with a provider's clock that is ahead no reading would be new enough.
        heard_at = min(event.occurred_at, now)
        mark_stale_within(connection, account, body.template_id, body.name, body.language, at=heard_at)
    flows = [
        (flow_scope(account, body.flow_id), event, body)
        for account, event in told
        if isinstance(body := event.body, FlowChanged)
    ]
    for scope_key, event, body in sorted(flows, key=lambda one: one[0]):  # stable: one flow's stay in their order
        _flow_changed(connection, scope_key, body.new[:60], event.occurred_at)


def _flow_changed(connection: Connection, scope_key: str, status: str, at: datetime) -> None:
    if len(scope_key) > LONGEST_WORKFLOW_ID:
        return
    code = f"flow-{status.lower()}"
    if status.upper() == PUBLISHED:
        end_within(connection, scope_key, at, code)
    else:
        reason = f"the provider says that the flow is {status}: publish it again, or open the gate by hand"
        hold_within(connection, HoldRow(scope_key=scope_key, code=code, reason=reason, at=at))
