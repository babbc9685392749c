"""Provider calls that make nothing appear on a phone: reads, and writes that may be repeated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from temporalio import activity

from activities.failures import application_error
from activities.gates import marked
from activities.known_templates import known_template
from activities.scopes import Reach, ScopeHolds, logical_now
from domain import names
from domain.admission import TEMPLATE_FRESH
from domain.calls import (
    CheckedRun,
    ConversationEnded,
    EndConversation,
    LearnedAliases,
    Reconciled,
    ReconcileRequest,
    RunQuestion,
    TemplateQuestion,
    ThreadRequest,
)
from domain.contacts import Alias, AliasKind
from domain.errors import NotAllowed, ProviderRejected, SendError
from domain.gates import TemplateLook
from domain.ids import template_scope
from domain.ports import Accounts, ContactPolicy, HoldRows, SendLedger, TemplateSpecifications, TemplateStates
from domain.sends import (
    FlowRunSearch,
    LedgerEntry,
    LedgerState,
    MessageThread,
    SendReceipt,
    TemplateReading,
)

RECONCILE_SKEW = timedelta(seconds=30)
"""Clock difference that reconciliation allows between the provider and us (A-R11)."""


class LookupActivities:
    """What an engagement asks providers, over whichever accounts this worker was given."""

    def __init__(  # noqa: PLR0917 - ports are given by name or position, each is one collaborator
        self,
        accounts: Accounts,
        ledger: SendLedger,
        contacts: ContactPolicy,
        templates: TemplateStates,
        specifications: TemplateSpecifications,
        holds: HoldRows,
    ) -> None:
        self._accounts, self._ledger, self._contacts, self._templates = accounts, ledger, contacts, templates
        self._specifications, self._scopes = specifications, ScopeHolds(holds)
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @activity.defn(name=names.ENSURE_TEMPLATE_APPROVED)
    async def ensure_template_approved(self, question: TemplateQuestion) -> TemplateReading:
        """How the template stands, from our own row while that counts, else from the provider.

        Of many who ask at once one reads and the others take what it read: an account's lookups are one process's.
        """
        scope = template_scope(question.account, question.template.name, question.template.language)
        lock = self._reading.setdefault(scope, asyncio.Lock())
        try:
            async with lock:
                return await self._template(question)
        except SendError as error:
            raise application_error(error) from None

    async def _template(self, question: TemplateQuestion) -> TemplateReading:
        look = TemplateLook(
            account=question.account, template=question.template, flow=question.flow, at=logical_now(question.at)
        )
        known = await self._templates.read(look.account, look.template)
        if known is not None:
            reading, read_at = known
            if reading.template_status.waits or look.at - read_at <= TEMPLATE_FRESH:
                return marked(reading, look.model_copy(update={"at": read_at}), self._specifications)
        reach = Reach(look.account)
        async with self._asking(reach, look.at):
            reading = await self._accounts.provider(look.account).read_template(look.template, look.flow)
        await self._templates.write(look.account, look.template, reading, look.at)
        kept = await self._templates.read(look.account, look.template)
        return marked(kept[0] if kept else reading, look, self._specifications)

    @asynccontextmanager
    async def _asking(self, reach: Reach, at: datetime) -> AsyncIterator[None]:
        """Around every provider call: a scope that is held is not asked, and what it answers for all holds all."""
        await self._scopes.check(reach, at)
        try:
            yield
        except SendError as error:
            raise await self._scopes.remember(error, reach, at) from None

    @activity.defn(name=names.OPEN_THREAD)
    async def open_thread(self, request: ThreadRequest) -> MessageThread:
        """Find or open the thread with a person, and remember it as one of their aliases."""
        try:
            async with self._asking(Reach(request.account, request.line), logical_now(request.at)):
                thread = await self._accounts.provider(request.account).open_thread(request.address)
            alias = Alias(kind=AliasKind.THREAD, value=thread.thread_id, scope=request.account)
            await self._contacts.learn(LearnedAliases(contact_id=request.contact_id, aliases=(alias,)))
        except SendError as error:
            raise application_error(error) from None
        return thread

    @activity.defn(name=names.CHECK_FLOW_RUN)
    async def check_flow_run(self, question: RunQuestion) -> CheckedRun:
        """How a flow run stands now, by the provider's own word; by our own, the template of what leaves next."""
        try:
            async with self._asking(Reach(question.account), logical_now(question.at)):
                run = await self._accounts.provider(question.account).read_flow_run(question.run_id)
        except SendError as error:
            raise application_error(error) from None
        return CheckedRun(**dict(run), template=await known_template(self._templates, question.template))

    @activity.defn(name=names.RECONCILE_SEND)
    async def reconcile_send(self, request: ReconcileRequest) -> Reconciled:
        """Whether a send whose answer was lost reached the provider; what is certain is written to the ledger."""
        try:
            return await self._reconcile(request)
        except SendError as error:
            raise application_error(error) from None

    @activity.defn(name=names.END_CONVERSATION)
    async def end_conversation(self, request: EndConversation) -> ConversationEnded:
        """Cancel what the provider still runs, so that its bot does not go on after the engagement."""
        try:
            async with self._asking(Reach(request.account), logical_now(request.at)):
                status = await self._accounts.provider(request.account).end_conversation(request)
        except SendError as error:
            raise application_error(error) from None
        return ConversationEnded(run_status=status)

    async def _reconcile(self, request: ReconcileRequest) -> Reconciled:
        entry = await self._ledger.find(request.send_key)
        if entry is None or entry.state is LedgerState.FREE:
            # the attempt ended before its claim, or was refused it; a late one finds its own deadline passed
            return Reconciled(state=LedgerState.NOT_SENT)
        if entry.state in (LedgerState.SENT, LedgerState.NOT_SENT, LedgerState.REJECTED):
            return Reconciled(state=entry.state, receipt=_receipt(entry))
        if request.ledger_only:
            return await self._given_up(request)
        try:
            search = await self._search(request, entry)
            async with self._asking(Reach(request.account), logical_now(request.at)):
                found = await self._accounts.provider(request.account).find_flow_runs(search)
        except ProviderRejected as refused:
            if refused.scope.is_shared:
                raise
            return Reconciled(
                state=LedgerState.UNKNOWN, ambiguous=True
            )  # what cannot be read to its end proves nothing
        if len(found) > 1:
            return Reconciled(state=LedgerState.UNKNOWN, ambiguous=True)
        if found:
            receipt = SendReceipt(reference=entry.reference, run_id=found[0].run_id, thread_id=request.thread_id)
            await self._ledger.resolve(request.send_key, LedgerState.SENT, receipt, request.at)
            return Reconciled(state=LedgerState.SENT, receipt=receipt, run=found[0])
        if request.final:
            await self._ledger.resolve(request.send_key, LedgerState.NOT_SENT, None, request.at)
            return Reconciled(state=LedgerState.NOT_SENT)
        return Reconciled(state=LedgerState.UNKNOWN)

    async def _given_up(self, request: ReconcileRequest) -> Reconciled:
        try:
            entry = await self._ledger.resolve(request.send_key, LedgerState.UNKNOWN, None, request.at)
        except NotAllowed:  # it was settled since it was read: its worker lives after all
            return await self._reconcile(request)
        return Reconciled(state=entry.state)

    async def _search(self, request: ReconcileRequest, entry: LedgerEntry) -> FlowRunSearch:
        return FlowRunSearch(
            thread_id=request.thread_id,
            reference=entry.reference,
            flow_id=request.flow_id,
            template_id=request.template_id,
            not_before=(entry.claimed_at or request.at) - RECONCILE_SKEW,
            owned=await self._ledger.runs_of_others(request.thread_id, request.send_key),
        )


def _receipt(entry: LedgerEntry) -> SendReceipt:
    return SendReceipt(
        reference=entry.reference,
        run_id=entry.run_id,
        message_id=entry.message_id,
        session_id=entry.session_id,
        thread_id=entry.thread_id,
        form=entry.form,
        inbound_at=entry.inbound_at,
    )
