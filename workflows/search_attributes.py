"""Typed fields to find engagements by. Readable without any key, so none of them holds personal data."""

import re
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
WAITING_SINCE: SearchAttributeKey[datetime] = SearchAttributeKey.for_datetime("WaitingSince")
"""Since when an engagement waits in its stage; a follow-up in between does not begin the wait for an answer anew."""
HELD_BY = SearchAttributeKey.for_keyword("HeldBy")
"""Workflow id of the gate at which an engagement waits."""
HOLD_RULE = SearchAttributeKey.for_keyword("HoldRule")
"""The rule that holds it, as the decision log names it."""
SEND_UNKNOWN = SearchAttributeKey.for_bool("SendUnknown")
"""Nobody knows of one of its sends whether it left."""
JOB = SearchAttributeKey.for_keyword("Job")
"""The tenant's own key of the job or requisition, where that looks like a key."""

ALL: Sequence[SearchAttributeKey[Any]] = (
    STAGE,
    OUTCOME,
    TENANT,
    LINE,
    PROVIDER,
    PLAN,
    NEXT_ACTION_AT,
    WAITING_SINCE,
    NEEDS_HUMAN,
    HELD_BY,
    HOLD_RULE,
    SEND_UNKNOWN,
    JOB,
)
"""What a Temporal namespace must know before the first engagement starts. ``Any``: value types differ.

A namespace on SQL has room for ten keywords and three of each other type.
"""

_KEY_OF_JOB = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_BETWEEN_DIGITS = str.maketrans("", "", "._:-")
_TELLING = 7
"""So many of a number's last digits tell whose it is, with or without the code of its country; fewer name nobody."""


def findable_job(job: str, phone: str) -> str:
    """The job as everybody may read it; empty where it is no key but a text, or has the candidate's number in it."""
    ending = phone.removeprefix("+")[-_TELLING:]
    digits = job.translate(_BETWEEN_DIGITS)
    return job if _KEY_OF_JOB.fullmatch(job) and not (ending and ending in digits) else ""
