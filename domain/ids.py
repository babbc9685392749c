"""Ids are functions of what they name: equal on every attempt, free of personal data, safe in a URL."""

import re

from domain import names

ENGAGEMENTS_QUEUE = "engagements"
"""Task queue of the workflow and of the activities that touch only our own store."""

DEPLOYMENT = "rapport"
"""Name of the worker deployment whose versions are our releases."""

NO_NUMBER = r"(?!(?!(?:19|20)\d\d[._:-])(?:[._:-]*\d){7,}[._:-]*$)"
"""How a pattern of ids begins: seven digits or more with nothing but separators are a number, unless after a year."""
_REFERENCE = re.compile(NO_NUMBER + r"[A-Za-z0-9._-]{1,64}")
_GATE = "gate:"
_PAUSE = "pause:"


def engagement_workflow_id(tenant: str, reference: str) -> str:
    """Temporal's id of an engagement; no ``/``, which breaks links in Temporal UI."""
    return f"engagement:{tenant}:{reference}"


def spoken(reference: str) -> str:
    """A reference as an error text repeats it: not where somebody gave a number, or anything else, in place of one."""
    return reference if _REFERENCE.fullmatch(reference) else "of that reference"


def engagement_tenant(workflow_id: str) -> str | None:
    """The tenant of an engagement by its workflow id; None for any other workflow."""
    kind, _, rest = workflow_id.partition(":")
    tenant, _, reference = rest.partition(":")
    return tenant if kind == "engagement" and tenant and reference else None


def send_key(workflow_id: str, step: str, n: int) -> str:
    """Our id of one intended send: the ``n``-th try that a person or the plan allowed for ``step``."""
    return f"{workflow_id}/{step}/{n}"


def sends_queue(line: str) -> str:
    """Task queue that paces the sends of one line."""
    return f"sends:{line}"


def lookups_queue(account: str) -> str:
    """Task queue that paces the reads and other writes of one account."""
    return f"lookups:{account}"


def template_scope(account: str, template: str, language: str) -> str:
    """Key under which everything that waits for one template waits."""
    return f"template:{account}:{template}:{language}"


def flow_scope(account: str, flow: str) -> str:
    """Key under which everything that waits for one provider flow or WhatsApp Flow waits."""
    return f"flow:{account}:{flow}"


def line_scope(line: str) -> str:
    """Key under which everything that waits for one line waits."""
    return f"line:{line}"


def account_scope(account: str) -> str:
    """Key under which everything that waits for one account waits."""
    return f"account:{account}"


def paused_scope(scope: str, value: str) -> str:
    """Key under which everything waits that an operator's pause of a tenant or a line keeps back."""
    return f"{_PAUSE}{scope}:{value}"


def pause_in(scope_key: str) -> tuple[str, str] | None:
    """The scope and value of a ``paused_scope``; None for the key of anything else."""
    scope, _, value = scope_key.removeprefix(_PAUSE).partition(":")
    return (scope, value) if scope_key.startswith(_PAUSE) else None


def gate_workflow_id(scope_key: str) -> str:
    """Temporal's id of the gate at which everything of this scope waits."""
    return f"{_GATE}{scope_key}"


def is_gate(workflow_id: str) -> bool:
    """Whether a workflow of this id is a gate."""
    return workflow_id.startswith(_GATE)


def signal_for(workflow_id: str) -> str:
    """The signal by which a workflow of this id hears of provider events."""
    return names.TEMPLATE_STATUS if is_gate(workflow_id) else names.PROVIDER_EVENTS
