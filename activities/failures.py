"""The one place that builds an ApplicationError.

Types are pinned names that workflows and retry policies read. Texts are bounded; ours never hold a payload, a secret
or a phone number. ``details`` carry a ``SendFailure``.
"""

from datetime import timedelta

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain import errors, names
from domain.sends import SendFailure

_TEXT_LIMIT = 500


def failure_of(error: errors.SendError) -> SendFailure:
    """What the workflow learns of an error."""
    suppress = isinstance(error, errors.ProviderRejected) and error.suppress
    free_form = isinstance(error, errors.ProviderRejected) and error.free_form
    until = error.until if isinstance(error, errors.PolicyRefused) else None
    return SendFailure(
        scope=error.scope,
        code=error.code,
        reason=str(error)[:_TEXT_LIMIT],
        suppress=suppress,
        free_form=free_form,
        until=until,
    )


def application_error(error: errors.SendError, *, recorded: bool = True) -> ApplicationError:
    """Translate an error of ours for Temporal: what may pass is retried by the server, everything else is not.

    ``recorded`` tells whether the send ledger says the same.
    """
    delay: timedelta | None = None
    match error:
        case errors.ProviderUnavailable():
            kind, final, delay = names.PROVIDER_UNAVAILABLE, False, error.retry_after
        case errors.StoreUnavailable():
            kind, final = names.STORE_UNAVAILABLE, False
        case errors.ProviderRejected():
            kind, final = names.PROVIDER_REJECTED, True
        case errors.PolicyRefused():
            kind, final = names.POLICY_REFUSED, True
        case _:
            kind, final = names.OUTCOME_UNKNOWN, True
    failure = failure_of(error).model_copy(update={"recorded": recorded})
    return ApplicationError(
        failure.reason,
        failure,
        type=kind,
        non_retryable=final,
        next_retry_delay=delay,
        category=ApplicationErrorCategory.BENIGN if not final else ApplicationErrorCategory.UNSPECIFIED,
    )
