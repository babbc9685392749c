"""Typed fields to find engagements by. Readable without any key, so none of them holds personal data."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from temporalio.common import SearchAttributeKey

STAGE = SearchAttributeKey.for_keyword("EngagementStage")
OUTCOME = SearchAttributeKey.for_keyword("EngagementOutcome")
TENANT = SearchAttributeKey.for_keyword("Tenant")
LINE = SearchAttributeKey.for_keyword("Line")
PROVIDER = SearchAttributeKey.for_keyword("Provider")
PLAN = SearchAttributeKey.for_keyword("Plan")
NEXT_ACTION_AT: SearchAttributeKey[datetime] = SearchAttributeKey.for_datetime("NextActionAt")
NEEDS_HUMAN = SearchAttributeKey.for_bool("NeedsHuman")
HELD_BY = SearchAttributeKey.for_keyword("HeldBy")
"""Workflow id of the gate at which an engagement waits."""

ALL: Sequence[SearchAttributeKey[Any]] = (
    STAGE,
    OUTCOME,
    TENANT,
    LINE,
    PROVIDER,
    PLAN,
    NEXT_ACTION_AT,
    NEEDS_HUMAN,
    HELD_BY,
)
"""What a Temporal namespace must know before the first engagement starts. ``Any``: value types differ."""
