"""Truora as a messaging provider: an approved outbound message that leads into a flow, started when it is accepted.

There is no thread to open and no session to ask about: answers come by webhook only. Source: Truora, *Start
Conversations via API*; what is assumed has an id and stands in ``settings.py``.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import SecretStr

from domain.calls import EndConversation
from domain.engagements import Capabilities
from domain.errors import ProviderRejected, ProviderUnavailable, Scope
from domain.events import FlowRunStatus
from domain.model import E164
from domain.plans import FlowRef, TemplateRef
from domain.sends import (
    FlowRun,
    FlowRunSearch,
    MessageThread,
    Send,
    SendNames,
    SendReceipt,
    TemplateReading,
    TemplateStatus,
)
from domain.templates import TemplateSpecification
from providers.endings import Refine
from providers.http import Limits, ProviderHttp, Request, Transport
from providers.truora import mapping, sending
from providers.truora.errors import refine
from providers.truora.outbounds import TruoraOutbounds
from providers.truora.schemas import Outbound, ProcessResult, SendAnswer
from providers.truora.settings import TruoraSettings
from providers.wire import as_object

CAPABILITIES = Capabilities(
    has_threads=False,
    can_read_runs=False,
    can_create_templates=False,
    can_cancel_runs=False,
    reads_templates_by_id=True,
    free_form_window=False,
    one_live_run_per_thread=False,
    confirms_ends=False,
    tells_arrivals=False,
)

NOT_BY_API = "Truora makes outbounds in its dashboard only: make it there, and name its id in the plan"

LOOK_FIRST_SECONDS = 5
"""Longest look at an outbound just before a send, so that the send keeps most of its own time."""


@dataclass(frozen=True)
class Doors:
    """HTTP to one account: the messaging API, and the process API where it is switched on (A-T12)."""

    messaging: ProviderHttp
    processes: ProviderHttp | None = None


def truora_http(
    account: str,
    base_url: str,
    api_key: SecretStr,
    *,
    refined_by: Refine = refine,
    limits: Limits | None = None,
    transport: Transport | None = None,
) -> ProviderHttp:
    """HTTP to one Truora account. Truora: Start Conversations via API (header)."""
    headers: dict[str, SecretStr | str] = {"truora-api-key": api_key, "accept": "application/json"}
    return ProviderHttp(f"account {account}", base_url, headers, limits=limits, refine=refined_by, transport=transport)


class TruoraClient:
    """One Truora account, as ``domain.ports.MessagingProvider``. Each method is one step, without retries.

    ``senders`` are the digits of the account's lines, by slug; without them nothing is compared with a line.
    """

    def __init__(self, account: str, doors: Doors, settings: TruoraSettings, senders: Mapping[str, str]) -> None:
        self._account, self._doors, self._settings, self._senders = account, doors, settings, dict(senders)
        self._outbounds = TruoraOutbounds(account, doors.messaging)
        self._seen: dict[str, Outbound] = {}

    @property
    def capabilities(self) -> Capabilities:
        """What Truora can do."""
        return CAPABILITIES

    async def close(self) -> None:
        """Give back connections."""
        await self._doors.messaging.close()
        if self._doors.processes is not None:
            await self._doors.processes.close()

    async def read_template(self, template: TemplateRef, flow: FlowRef | None) -> TemplateReading:
        """The outbound by its id; one that does not exist reads as MISSING.

        Raises ``ProviderRejected`` when the plan names none, or when it is approved and a send by the plan would be
        refused all the same: a wrong variable, a flow too many, another line's number.
        """
        try:
            found = await self._look_up(template.id)
        except ProviderRejected as refused:
            if refused.scope is Scope.TEMPLATE:
                return TemplateReading(template_status=TemplateStatus.MISSING)
            raise
        reading = mapping.template_reading(found, flow, self._settings)
        senders = frozenset(self._senders.values())
        wrong = mapping.misfits(template, flow, found, senders, self._settings) if reading.template_status.sends else []
        if wrong:
            told = [*wrong, *(sending.flow_id_mistakes("") if reading.flow_missing else [])]
            text = f"account {self._account}: template {template.name} ({template.language}): {'; '.join(told)}"
            raise ProviderRejected(text, scope=Scope.MESSAGE, code="template-misfit")
        return reading

    async def submit_template(self, _specification: TemplateSpecification) -> TemplateReading:
        """Raises ``ProviderRejected``: there is no such call."""
        text = f"account {self._account}: cannot create a template: {NOT_BY_API}"
        raise ProviderRejected(text, scope=Scope.TEMPLATE, code="not-offered")

    async def list_outbounds(self, line: str) -> tuple[Outbound, ...]:
        """Every outbound of one of the account's lines, by its slug."""
        return await self._outbounds.of_line(self._senders.get(line, ""))

    async def open_thread(self, _address: E164) -> MessageThread:
        """Raises ``ProviderRejected``: there is nothing to open."""
        raise self._not_offered("open a thread", "Truora has no such call")

    async def trigger_flow(self, send: Send, names: SendNames) -> SendReceipt:
        """Send the outbound of ``send``, whose flow starts when the candidate accepts: one POST.

        Where the plan leaves the flow to the outbound and this process has not read that yet, it is read first: a GET,
        before anything can leave.
        """
        flow_id = send.flow.id if send.flow else ""
        wrong = sending.mistakes_in(send, names, self._settings)
        wrong += ["flow_id: the send has no flow"] if send.flow is None else []
        wrong += sending.flow_id_mistakes(flow_id) if flow_id else []
        if not wrong and not flow_id and send.template.id not in self._seen:
            await self._look_first(send.template.id)
        known = self._seen.get(send.template.id)
        if not flow_id and send.flow is not None and known is not None:
            flow_id = known.default_flow_id
            wrong += [] if known.is_notification else sending.flow_id_mistakes(flow_id)
        if known is not None and known.is_notification:
            wrong.append("is_notification: the outbound starts no flow")
        self._refuse_if([*wrong, *self._line_mistakes(send, known)], "trigger a flow")
        return await self._sent("trigger a flow", send, names, flow_id)

    async def send_message(self, send: Send, names: SendNames) -> SendReceipt:
        """Send the outbound of ``send``, a notification, which starts no flow: one POST."""
        wrong = sending.mistakes_in(send, names, self._settings)
        known = self._seen.get(send.template.id)
        if known is not None and not known.is_notification:
            wrong.append("flow_id: the outbound starts a flow and the send has none")
        self._refuse_if([*wrong, *self._line_mistakes(send, known)], "send a message")
        return await self._sent("send a message", send, names, "")

    async def send_free_form(self, _send: Send, _names: SendNames) -> SendReceipt:
        """Raises ``ProviderRejected``: only outbounds leave through the API."""
        raise self._not_offered("send a text", "the API sends outbounds only")

    async def read_flow_run(self, run_id: str) -> FlowRun:
        """How a process stands, where reading is switched on (A-T12); its answers come by webhook only.

        Raises ``ProviderRejected`` where it is off, or where the process does not exist.
        """
        if self._doors.processes is None:
            raise self._not_offered("read a flow run", "process_url is not set, so reading is off")
        if not run_id:
            self._refuse_if(["process_id: is empty"], "read a flow run")
        path = f"/processes/{quote(run_id, safe='')}/result"
        answer = await self._doors.processes.call(Request("read a flow run", "GET", path))
        result = ProcessResult.model_validate(as_object(answer.json()))
        if not result.status or result.process_id not in ("", run_id):
            raise answer.unusable("without status, or of another process")
        return mapping.process_run(run_id, result)

    async def find_flow_runs(self, _search: FlowRunSearch) -> Sequence[FlowRun]:
        """Raises ``ProviderRejected``: an empty list would say that nothing was sent, which nobody can know."""
        raise self._not_offered("find flow runs", "Truora has no such call")

    async def end_conversation(self, _request: EndConversation) -> FlowRunStatus | None:
        """Truora documents no way to end a conversation: it expires by itself, and what comes later is ignored."""
        return None

    async def _look_up(self, outbound_id: str) -> Outbound:
        found = await self._outbounds.one(outbound_id)
        self._seen[outbound_id] = found
        return found

    async def _look_first(self, outbound_id: str) -> None:
        try:
            async with asyncio.timeout(LOOK_FIRST_SECONDS):
                await self._look_up(outbound_id)
        except TimeoutError:
            text = (
                f"account {self._account}: read an outbound: no answer within {LOOK_FIRST_SECONDS} seconds; try again"
            )
            raise ProviderUnavailable(text, scope=Scope.ACCOUNT, code="look-up-timeout") from None

    async def _sent(self, what: str, send: Send, names: SendNames, flow_id: str) -> SendReceipt:
        body = sending.form(send, names, flow_id, self._settings)
        answer = await self._doors.messaging.send(Request(what, "POST", "/outbounds/send", body=body))
        told = SendAnswer.model_validate(as_object(answer.json()))
        if not told.session_id:
            raise answer.unusable("without session_id")
        aliases = mapping.person(told.user_phone_number)
        return SendReceipt(reference=names.reference, session_id=told.session_id, aliases=aliases)

    def _line_mistakes(self, send: Send, known: Outbound | None) -> list[str]:
        if not self._senders or not self._settings.check_sender:
            return []
        sender = self._senders.get(send.line, "")
        if not sender:
            return [f"line: {send.line} is no line of this account"]
        number = mapping.digits_of(known.waba_phone_number) if known is not None else ""
        if number and number != sender:
            return [f"waba_phone_number: the outbound leaves from another number than line {send.line}"]
        return []

    def _refuse_if(self, mistakes: list[str], what: str) -> None:
        if mistakes:
            text = f"account {self._account}: {what}: not sent: {'; '.join(mistakes)}"
            raise ProviderRejected(text, scope=Scope.MESSAGE, code="incomplete-send")

    def _not_offered(self, what: str, why: str) -> ProviderRejected:
        return ProviderRejected(f"account {self._account}: {what}: {why}", scope=Scope.MESSAGE, code="not-offered")
