"""How each class of activity is tried: one table, with a reason for every number."""

from dataclasses import dataclass
from datetime import timedelta

from temporalio.common import RetryPolicy

from domain import names
from domain.engagements import Timing

SEND_POLICY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(minutes=2),  # a line is back within minutes; Retry-After overrides it
    non_retryable_error_types=[
        names.OUTCOME_UNKNOWN,
        names.PROVIDER_REJECTED,
        names.POLICY_REFUSED,
        "TemporalTimeout:StartToClose",  # the worker may have died after the request
        "TemporalTimeout:Heartbeat",
        "WorkerShutdown",
        "ActivityPause",
        "ActivityReset",
    ],
)
"""What is not known unsent is never tried again."""

LOOKUP_POLICY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(minutes=5),  # reads are cheap for us, not for a provider that is down
    non_retryable_error_types=[names.PROVIDER_REJECTED, names.POLICY_REFUSED],
)

RECORD_POLICY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),  # our own store is usually back at once
    maximum_interval=timedelta(minutes=1),
)

GATE_READ_POLICY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(minutes=1),  # the gate has a back-off of its own and looks again anyway
    maximum_attempts=3,
    non_retryable_error_types=[names.PROVIDER_REJECTED, names.POLICY_REFUSED],
)

SUBMIT_POLICY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(minutes=2),
    non_retryable_error_types=SEND_POLICY.non_retryable_error_types,
)
"""A submission is as little repeated as a send: what is not known unsent is looked for, not sent again."""

NOTICE_POLICY = RetryPolicy(
    initial_interval=timedelta(seconds=5),
    maximum_interval=timedelta(hours=1),  # seven days of a tenant's outage make some 180 attempts
    non_retryable_error_types=[names.PROVIDER_REJECTED],
)


@dataclass(frozen=True)
class CallOptions:
    """Limits and policy of one class of activity."""

    start_to_close: timedelta
    schedule_to_close: timedelta | None
    policy: RetryPolicy


def send_options(timing: Timing, left: timedelta) -> CallOptions:
    """A send waits behind its line's rate, at most as long as it is worth sending."""
    return CallOptions(timing.send_start_to_close, max(left, timing.send_start_to_close), SEND_POLICY)


def lookup_options(timing: Timing) -> CallOptions:
    """A lookup is given up after its budget; the engagement then waits with a stated reason."""
    return CallOptions(timing.lookup_start_to_close, timing.lookup_budget, LOOKUP_POLICY)


def record_options() -> CallOptions:
    """Our own store is waited for without end: nothing sensible can be done without it."""
    return CallOptions(timedelta(seconds=10), None, RECORD_POLICY)


def closing_options() -> CallOptions:
    """As ``record_options``, with time to tell the tenant's system once what is final then."""
    return CallOptions(timedelta(seconds=40), None, RECORD_POLICY)


def notice_options(timing: Timing) -> CallOptions:
    """The tenant's system is tried for days; the outcome does not wait for it."""
    return CallOptions(timedelta(seconds=30), timing.ats_budget, NOTICE_POLICY)
