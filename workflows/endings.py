"""Reads how an activity ended. Decides by pinned types and timeout kinds, never by text."""

from enum import StrEnum

from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from domain import names
from domain.sends import SendFailure


class SendEnding(StrEnum):
    """How a send ended that did not come back with a receipt."""

    NOT_SENT = "not-sent"
    REJECTED = "rejected"
    REFUSED = "refused"
    UNKNOWN = "unknown"


def send_ending(error: ActivityError) -> SendEnding:
    """Whatever is not proven unsent is unknown."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        match cause.type:
            case names.PROVIDER_UNAVAILABLE | names.STORE_UNAVAILABLE:
                return SendEnding.NOT_SENT
            case names.PROVIDER_REJECTED:
                return SendEnding.REJECTED
            case names.POLICY_REFUSED:
                return SendEnding.REFUSED
            case _:
                return SendEnding.UNKNOWN
    no_worker_held_it = isinstance(cause, TemporalTimeoutError | CancelledError) and error.started_event_id == 0
    return SendEnding.NOT_SENT if no_worker_held_it else SendEnding.UNKNOWN


def was_recalled(error: ActivityError) -> bool:
    """Whether it ended because we asked for that."""
    return isinstance(error.cause, CancelledError)


def is_told_unknown(error: ActivityError) -> bool:
    """Whether the activity itself lived to say that the outcome is unknown, and the ledger says so too."""
    told = isinstance(error.cause, ApplicationError) and error.cause.type == names.OUTCOME_UNKNOWN
    return told and failure_in(error).recorded


def failure_in(error: ActivityError) -> SendFailure:
    """What the activity said about its failure; an empty one when it said nothing."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.details:
        return SendFailure.model_validate(cause.details[0])
    return SendFailure(reason=type(cause).__name__ if cause else "")


def is_rejected(error: ActivityError) -> bool:
    """Whether the provider said no for good."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == names.PROVIDER_REJECTED


def is_refused(error: ActivityError) -> bool:
    """Whether a rule of our own said no, before anything was asked of the provider."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == names.POLICY_REFUSED
