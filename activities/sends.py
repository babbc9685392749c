"""Everything that can make a message appear on a phone: one activity, one claim, one HTTP request."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.failures import application_error, failure_of
from activities.scopes import Reach, ScopeHolds, logical_now
from activities.spacing import Departure, Spacing
from activities.unbroken import unbroken
from domain import names
from domain.caps import Caps
from domain.errors import (
    NotSent,
    OutcomeUnknown,
    ProviderRejected,
    ProviderUnavailable,
    SendError,
    SetupError,
    StoreUnavailable,
)
from domain.free_form import MessageForm
from domain.ports import Accounts, HoldRows, MessagingProvider, SendLedger
from domain.sends import LedgerState, Send, SendClaim, SendNames, SendReceipt

Request = Callable[[MessagingProvider, SendNames], Awaitable[SendReceipt]]

CLAIM_SHARE = 2 / 3
"""Part of the time before its request that an attempt may have waited when it claims; the rest is for its turn."""


class SendActivities:
    """The sends of an engagement, over whichever accounts this worker was given."""

    def __init__(
        self,
        accounts: Accounts,
        ledger: SendLedger,
        holds: HoldRows,
        request_limit: timedelta = timedelta(seconds=20),
        caps: Mapping[str, Caps] | None = None,
    ) -> None:
        self._accounts, self._ledger, self._limit = accounts, ledger, request_limit
        self._scopes, self._caps = ScopeHolds(holds), {} if caps is None else caps
        self._spacing: dict[str, Spacing] = {}

    def space(self, line: str, rate: float) -> None:
        """Let no more than ``rate`` requests a second leave through a line. This process alone sends through it."""
        self._spacing[line] = Spacing(rate)

    @activity.defn(name=names.TRIGGER_FLOW)
    async def trigger_flow(self, send: Send) -> SendReceipt:
        """Start the flow of a send: exactly one external effect.

        In: a thread that we opened where the provider has threads, a template seen APPROVED, a key equal on every
        attempt. Out: the provider's handles; taken, not delivered. Errors: ApplicationError of a pinned type.
        """
        return await unbroken(self._attempt(send, lambda provider, its: provider.trigger_flow(send, its)))

    @activity.defn(name=names.SEND_MESSAGE)
    async def send_message(self, send: Send) -> SendReceipt:
        """Send a template without a flow: exactly one external effect; otherwise as ``trigger_flow``.

        Both send the free form of a send in its place, where it has one and the claim finds the 24 hours open.
        """
        return await unbroken(self._attempt(send, lambda provider, its: provider.send_message(send, its)))

    async def _attempt(self, send: Send, request: Request) -> SendReceipt:
        spacing = self._spacing.get(send.line)
        async with spacing.near() if spacing else nullcontext():
            if _left(CLAIM_SHARE) <= timedelta(0):  # a row that was never claimed proves that nothing left
                raise application_error(_late())
            told = self._scopes.mark()
            provider, claim = await self._claim(send)
            if claim.earlier is not None:
                return claim.earlier
            departure = await spacing.turn(_left() / timedelta(seconds=1)) if spacing else None
        with departure.leaving() if departure else nullcontext():
            stopped = self._scopes.since(told, _reach(send), logical_now(send.at))
            if (spacing and not departure) or _left() <= timedelta(0):
                stopped = _late()
            if stopped is not None:
                await self._settle(claim, LedgerState.NOT_SENT, send, error=stopped)
                raise application_error(stopped)
            chosen = _free_form(send) if claim.form is MessageForm.FREE_FORM else request
            return await self._request(send, claim, _call(chosen, provider, claim.names, departure))

    async def _claim(self, send: Send) -> tuple[MessagingProvider, SendClaim]:
        try:
            provider = self._accounts.provider(send.account)
            return provider, await self._ledger.claim(send, logical_now(send.at), self._caps.get(send.tenant))
        except SetupError as unset:
            raise application_error(ProviderUnavailable(str(unset), code="not-configured")) from None
        except OutcomeUnknown as earlier:  # whose attempt may have died without a word, so that its row is still open
            raise application_error(earlier, recorded=False) from None
        except SendError as refused:
            raise application_error(refused) from None

    async def _request(self, send: Send, claim: SendClaim, call: Coroutine[None, None, SendReceipt]) -> SendReceipt:
        try:
            receipt = await unbroken(call, self._limit)
        except ProviderRejected as error:
            error.free_form = claim.form is MessageForm.FREE_FORM
            await self._hold_scope(error, send)
            recorded = await self._settle(claim, LedgerState.REJECTED, send, error=error)
            raise application_error(error, recorded=recorded) from None
        except NotSent as error:
            heard = await self._hold_scope(error, send)
            await self._settle(claim, LedgerState.NOT_SENT, send, error=error)
            raise application_error(heard) from None
        except Exception as error:
            unknown = error if isinstance(error, OutcomeUnknown) else _no_answer(error)
            recorded = await self._settle(claim, LedgerState.UNKNOWN, send, error=unknown)
            raise application_error(unknown, recorded=recorded) from error
        ours = {"reference": claim.names.reference, "thread_id": receipt.thread_id or send.thread_id}
        kept = receipt.model_copy(update={**ours, "form": claim.form, "inbound_at": claim.inbound_at})
        recorded = await self._settle(claim, LedgerState.SENT, send, receipt=kept)
        return kept.model_copy(update={"recorded": recorded})

    async def _hold_scope(self, error: SendError, send: Send) -> SendError:
        """Before the row is settled, so that nobody claims in between. Without the hold others ask the provider too."""
        try:
            return await self._scopes.remember(error, _reach(send), logical_now(send.at))
        except StoreUnavailable:
            activity.logger.warning("hold_not_recorded", extra={"send_key": send.key, "scope": error.scope.value})
            return error

    async def _settle(
        self,
        claim: SendClaim,
        state: LedgerState,
        send: Send,
        *,
        receipt: SendReceipt | None = None,
        error: SendError | None = None,
    ) -> bool:
        """Write the ending. A row that cannot be written stays ``calling``, which reads as unknown: the safe side."""
        try:
            await self._ledger.settle(claim, state, receipt, failure_of(error) if error else None, send.at)
        except StoreUnavailable:
            activity.logger.warning("send_ending_not_recorded", extra={"send_key": claim.key, "ending": state.value})
            return False
        return True


def _left(share: float = 1.0) -> timedelta:
    """Time in which the request may still begin: a frozen worker must not send after Temporal gave the attempt up.

    With ``share`` only that part of it may have passed by now.
    """
    info = activity.info()
    if info.start_to_close_timeout is None:
        return timedelta.max
    needed = min(timedelta(seconds=20), info.start_to_close_timeout * 2 / 3)
    return info.started_time + (info.start_to_close_timeout - needed) * share - datetime.now(UTC)


def _late() -> ProviderUnavailable:
    return ProviderUnavailable("the worker was held up before the request; nothing was sent", code="late")


def _reach(send: Send) -> Reach:
    return Reach(send.account, send.line, send.flow, send.template)


def _free_form(send: Send) -> Request:
    return lambda provider, its: provider.send_free_form(send, its)


async def _call(
    request: Request, provider: MessagingProvider, its: SendNames, departure: Departure | None
) -> SendReceipt:
    try:
        return await request(provider, its)
    finally:
        if departure:
            departure.over()


def _no_answer(error: Exception) -> OutcomeUnknown:
    """Whatever is not proven unsent is unknown: also a defect of ours after the request."""
    return OutcomeUnknown(f"no usable answer to a send ({type(error).__name__}); it may have arrived", code="no-answer")
