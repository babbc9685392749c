"""A hold: everything of one template, flow, line or account stops at the claim until it is lifted or over."""

from datetime import datetime, timedelta
from typing import Final

from domain.errors import NotSent, PolicyRefused, ProviderUnavailable, Scope
from domain.model import Instant, Model

HELD: Final = "held"
"""Code of a refusal that says: this scope is held, by whomever."""

SHORT_WAIT = timedelta(minutes=2)
"""A hold that is over this soon is waited out by Temporal's own retry; a gate for seconds would cost more."""


class HoldRow(Model):
    """``scope_key`` is one of ``domain.ids``' scopes; without ``until`` the hold stays until it is lifted.

    ``trial`` is the workflow id of the one engagement that may pass, to see whether the hold is over.
    """

    scope_key: str
    until: Instant | None = None
    code: str = ""
    reason: str
    actor: str = ""
    trial: str = ""
    at: Instant


def refusal(text: str, scope: Scope, until: datetime | None, at: datetime) -> NotSent:
    """What whoever runs into a hold at ``at`` is to hear: a short one is tried again, any other is waited for."""
    if until is not None and until - at <= SHORT_WAIT:
        return ProviderUnavailable(text, scope=scope, code=HELD, retry_after=until - at)
    return PolicyRefused(text, scope=scope, code=HELD)
