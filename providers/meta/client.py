"""Meta's WhatsApp Cloud API as a messaging provider: template messages that open a WhatsApp Flow.

There is no thread to open and no run to ask about: the phone number is the thread, and answers come by webhook only.
Sources: Meta, *Sending a Flow* and Cloud API reference; what is assumed has an id and stands in ``settings.py``.
"""

from collections.abc import Mapping, Sequence

import structlog
from pydantic import SecretStr

from domain.calls import EndConversation
from domain.engagements import Capabilities
from domain.errors import ProviderRejected, Scope
from domain.events import FlowRunStatus
from domain.model import E164, JsonValue
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
from domain.templates import TemplateSpecification, faults_of
from providers.http import JsonBody, Limits, ProviderHttp, Request, Transport
from providers.meta import mapping, messages, rules
from providers.meta.errors import TEMPLATE_EXISTS, refiner
from providers.meta.messages import InteractiveFlow
from providers.meta.schemas import SendAnswer
from providers.meta.settings import MetaSettings
from providers.meta.specification import attributes_of, faults_in
from providers.meta.templates import MetaTemplates, path_to, template_in
from providers.submissions import refuse_faults, taken_up
from providers.wire import as_object, plain_word

log = structlog.get_logger()

CAPABILITIES = Capabilities(
    has_threads=False,
    can_read_runs=False,
    can_create_templates=True,
    can_cancel_runs=False,
    reads_templates_by_id=False,
    free_form_window=True,
    one_live_run_per_thread=False,
    confirms_ends=False,
    tells_starts=False,
    free_form_flows=True,
)


def meta_http(
    account: str,
    base_url: str,
    token: SecretStr,
    settings: MetaSettings,
    *,
    limits: Limits | None = None,
    transport: Transport | None = None,
) -> ProviderHttp:
    """HTTP to one business account, under the configured version. Meta: Sending a Flow (headers)."""
    bearer = SecretStr(f"Bearer {token.get_secret_value()}")
    headers: dict[str, SecretStr | str] = {"authorization": bearer, "accept": "application/json"}
    return ProviderHttp(
        f"account {account}",
        f"{base_url.rstrip('/')}/{settings.api_version}",
        headers,
        limits=limits,
        refine=refiner(account, settings),
        request_id_headers=("x-fb-trace-id", "x-fb-request-id"),
        transport=transport,
    )


class MetaClient:
    """One WhatsApp Business Account, as ``domain.ports.MessagingProvider``. Each method is one step, without retries.

    ``senders`` are the phone number ids of the account's lines, by slug.
    """

    def __init__(self, account: str, http: ProviderHttp, settings: MetaSettings, senders: Mapping[str, str]) -> None:
        self._account, self._http, self._settings, self._senders = account, http, settings, dict(senders)
        self._templates = MetaTemplates(http, settings)

    @property
    def capabilities(self) -> Capabilities:
        """What Meta can do."""
        return CAPABILITIES

    async def close(self) -> None:
        """Give back connections."""
        await self._http.close()

    async def read_template(self, template: TemplateRef, flow: FlowRef | None) -> TemplateReading:
        """The template by name and language; one that does not exist reads as MISSING.

        Raises ``ProviderRejected`` when it is approved and a send by the plan would be refused all the same.
        """
        found = await self._templates.named(template.name, template.language)
        if found is None:
            return TemplateReading(template_status=TemplateStatus.MISSING)
        reading = mapping.template_reading(found)
        wrong = mapping.misfits(template, flow, found) if reading.template_status.sends else []
        if wrong:
            text = f"account {self._account}: template {template.name} ({template.language}): {'; '.join(wrong)}"
            raise ProviderRejected(text, scope=Scope.MESSAGE, code="template-misfit")
        return reading

    async def submit_template(self, specification: TemplateSpecification) -> TemplateReading:
        """Create a template: one POST. Review begins at once; only APPROVED sends. At most 100 creations an hour.

        Where the name exists in that language already, what is there is read and taken up.
        """
        refuse_faults((*faults_of(specification), *faults_in(specification, self._settings)), self._account)
        body = JsonBody(attributes_of(specification))
        request = Request("create a template", "POST", self._templates.path, body=body, rejected_scope=Scope.TEMPLATE)
        try:
            answer = await self._http.create(request)
        except ProviderRejected as refused:
            if refused.code != TEMPLATE_EXISTS:
                raise
            return await taken_up(refused, self._existing(specification.reference))
        created = template_in(answer)
        if created is None:
            raise answer.unusable("without the template's id")
        return mapping.template_reading(created)

    async def open_thread(self, _address: E164) -> MessageThread:
        """Raises ``ProviderRejected``: there is nothing to open."""
        raise self._not_offered("open a thread")

    async def trigger_flow(self, send: Send, names: SendNames) -> SendReceipt:
        """Send the template of ``send`` whose button opens its Flow: one POST. Accepted is neither sent nor seen."""
        mistakes = messages.mistakes_in_send(send, names, with_flow=True)
        rules.refuse_if(mistakes, self._account, "trigger a flow")
        message = messages.template_message(send, names, with_flow=True)
        return await self._sent("trigger a flow", send.line, message, names)

    async def send_message(self, send: Send, names: SendNames) -> SendReceipt:
        """Send the template of ``send``, which has no FLOW button: one POST. Accepted is not sent."""
        mistakes = messages.mistakes_in_send(send, names, with_flow=False)
        rules.refuse_if(mistakes, self._account, "send a message")
        message = messages.template_message(send, names, with_flow=False)
        return await self._sent("send a message", send.line, message, names)

    async def send_interactive_flow(self, message: InteractiveFlow, names: SendNames) -> SendReceipt:
        """Send a flow message without a template: one POST. Outside the 24-hour window Meta refuses it (131047)."""
        mistakes = messages.mistakes_in_interactive(message, names, self._settings)
        rules.refuse_if(mistakes, self._account, "send a flow message")
        wire = messages.interactive_message(message, names)
        return await self._sent("send a flow message", message.line, wire, names)

    async def send_free_form(self, send: Send, names: SendNames) -> SendReceipt:
        """Send the free form of ``send``: one POST of a text, or of a flow message where ``send`` has a Flow.

        Outside the 24-hour window Meta refuses it (131047), at once or later as a failed status.
        """
        if send.flow is not None:
            return await self.send_interactive_flow(messages.interactive_of(send), names)
        rules.refuse_if(messages.free_text_mistakes(send, names), self._account, "send a text")
        return await self._sent("send a text", send.line, messages.free_text(send, names), names)

    async def read_flow_run(self, _run_id: str) -> FlowRun:
        """Raises ``ProviderRejected``: Meta cannot be asked how a form stands."""
        raise self._not_offered("read a flow run")

    async def find_flow_runs(self, _search: FlowRunSearch) -> Sequence[FlowRun]:
        """Raises ``ProviderRejected``: an empty list would say that nothing was sent, which nobody can know."""
        raise self._not_offered("find flow runs")

    async def end_conversation(self, _request: EndConversation) -> FlowRunStatus | None:
        """Nothing runs at Meta that could be ended: a form that was sent stays open; what comes later is ignored."""
        return None

    async def _existing(self, template: TemplateRef) -> TemplateReading | None:
        found = await self._templates.named(template.name, template.language)
        return mapping.template_reading(found) if found is not None else None

    async def _sent(self, what: str, line: str, message: dict[str, JsonValue], names: SendNames) -> SendReceipt:
        sender = self._senders.get(line, "")
        if not sender:
            text = f"account {self._account}: {what}: not sent: line {line} has no phone number id as sender"
            raise ProviderRejected(text, scope=Scope.LINE, code="no-sender")
        answer = await self._http.send(Request(what, "POST", path_to(sender, "messages"), body=JsonBody(message)))
        told = SendAnswer.model_validate(as_object(answer.json()))
        taken = told.messages[0] if told.messages else None
        if taken is None or not taken.id:
            raise answer.unusable("without the message's id")
        held = taken.message_status.strip().lower() in mapping.HELD
        if held:
            word = plain_word(taken.message_status)
            log.warning("message_held_by_provider", account=self._account, line=line, word=word)
        return SendReceipt(
            reference=names.reference,
            message_id=taken.id,
            aliases=mapping.aliases_in(self._account, told),
            held=held,
        )

    def _not_offered(self, what: str) -> ProviderRejected:
        text = f"account {self._account}: {what}: Meta has no such call"
        return ProviderRejected(text, scope=Scope.MESSAGE, code="not-offered")
