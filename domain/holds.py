"""A hold: everything of one template, flow, line or account stops at the claim until it is lifted or over."""

from datetime import timedelta

from domain.model import Instant, Model

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
