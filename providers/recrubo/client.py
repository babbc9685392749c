"""Recrubo as a messaging provider: threads, flow runs, templates and messages over JSON:API.

Source: Recrubo, *Triggering flows* and API reference; what is assumed has an id and stands in ``settings.py``.
"""

from collections.abc import Sequence

from pydantic import SecretStr

from domain.calls import EndConversation
from domain.engagements import Capabilities
from domain.errors import NotSent, ProviderRejected, ProviderUnavailable, Scope
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
from providers.http import Limits, ProviderHttp, Request, Transport
from providers.recrubo import mapping
from providers.recrubo.errors import TEMPLATE_EXISTS, refine
from providers.recrubo.resources import MEDIA_TYPE, RecruboResources, document, path_to, resource_in
from providers.recrubo.schemas import Resource, RunAttributes, TemplateAttributes, ThreadAttributes
from providers.recrubo.settings import RecruboSettings
from providers.recrubo.specification import attributes_of, faults_in
from providers.submissions import refuse_faults, taken_up

CAPABILITIES = Capabilities(
    has_threads=True,
    can_read_runs=True,
    can_create_templates=True,
    can_cancel_runs=True,
    reads_templates_by_id=True,
    free_form_window=True,
    one_live_run_per_thread=True,
    confirms_ends=True,
)

_ALREADY_OVER = frozenset({404, 409, 422})
"""How Recrubo may refuse to end what has ended (A-R3)."""


def recrubo_http(
    account: str,
    base_url: str,
    token: SecretStr,
    *,
    limits: Limits | None = None,
    transport: Transport | None = None,
) -> ProviderHttp:
    """HTTP to one Recrubo organisation. Recrubo: Triggering flows (headers)."""
    bearer = SecretStr(f"Bearer {token.get_secret_value()}")
    headers: dict[str, SecretStr | str] = {"authorization": bearer, "accept": MEDIA_TYPE}
    return ProviderHttp(f"account {account}", base_url, headers, limits=limits, refine=refine, transport=transport)


class RecruboClient:
    """One Recrubo organisation, as ``domain.ports.MessagingProvider``. Each method is one step, without retries."""

    def __init__(self, account: str, http: ProviderHttp, settings: RecruboSettings) -> None:
        self._account, self._http, self._settings = account, http, settings
        self._resources = RecruboResources(http, settings)

    @property
    def capabilities(self) -> Capabilities:
        """What Recrubo can do."""
        return CAPABILITIES

    async def close(self) -> None:
        """Give back connections."""
        await self._http.close()

    async def read_template(self, template: TemplateRef, flow: FlowRef | None) -> TemplateReading:
        """The template by its id, else by name and language; one that does not exist reads as MISSING."""
        if template.id:
            found = await self._resources.read("read a template", path_to("message-templates", template.id))
        else:
            found = await self._resources.template_named(template.name, template.language)
        if found is None:
            return TemplateReading(template_status=TemplateStatus.MISSING)
        return self._template(found)

    async def submit_template(self, specification: TemplateSpecification) -> TemplateReading:
        """Create a template: one POST. It is relayed to Meta, whose review begins; only APPROVED sends.

        Where the name exists in that language already, what is there is read and taken up.
        """
        refuse_faults((*faults_of(specification), *faults_in(specification)), self._account)
        body = document("messageTemplates", attributes_of(specification))
        request = Request("create a template", "POST", "/message-templates", body=body, rejected_scope=Scope.TEMPLATE)
        try:
            answer = await self._http.create(request)
        except ProviderRejected as refused:
            if refused.code != TEMPLATE_EXISTS:
                raise
            return await taken_up(refused, self._existing(specification.reference))
        created = resource_in(answer)
        if created is None:
            raise answer.unusable("without the template's id")
        return self._template(created)

    async def open_thread(self, address: E164) -> MessageThread:
        """The thread with this person: found, else opened. A second POST may answer new, existing or 409 (A-R2)."""
        identifier = mapping.identifier_of(address)
        known = await self._find_thread_if_asked(identifier)
        if known is not None:
            return known
        attributes: dict[str, JsonValue] = {"channel": mapping.CHANNEL, "identifier": identifier}
        body = document("messageThreads", attributes)
        answer = await self._http.call(
            Request("open a thread", "POST", "/message-threads", body=body), also=frozenset({409})
        )
        if answer.status == 409:
            return await self._existing_thread(identifier)
        created = resource_in(answer)
        if created is None:
            raise answer.unusable("without the thread's id")
        paused = ThreadAttributes.model_validate(created.attributes).chatbot_paused
        return MessageThread(thread_id=created.id, chatbot_paused=paused)

    async def trigger_flow(self, send: Send, names: SendNames) -> SendReceipt:
        """Start the flow of ``send``: one POST. Only the run's id decides; nothing else of the answer is compared."""
        flow_id = send.flow.id if send.flow else ""
        self._refuse_if([*mapping.missing_in(send), *([] if send.flow else ["flowId: the send has no flow"])])
        settings = self._settings
        state: dict[str, JsonValue] = {settings.reference_variable: names.reference} if settings.send_reference else {}
        attributes: dict[str, JsonValue] = {
            "flowId": flow_id,
            "messageThreadId": send.thread_id,
            "state": state,
            "initialMessage": mapping.template_message(send),
        }
        request = Request("trigger a flow", "POST", "/flow-runs", body=document("flowRuns", attributes))
        run_id = await self._sent(request, "the flow run's id")
        return self._receipt(send, names).model_copy(update={"run_id": run_id})

    async def send_message(self, send: Send, names: SendNames) -> SendReceipt:
        """Send the template of ``send`` into its thread: one POST. Accepted is not sent."""
        self._refuse_if(mapping.missing_in(send))
        attributes: dict[str, JsonValue] = {
            "sendBy": self._settings.sent_by,
            "messageThreadId": send.thread_id,
            "payload": mapping.template_message(send),
        }
        request = Request("send a message", "POST", "/messages", body=document("messages", attributes))
        message_id = await self._sent(request, "the message's id")
        return self._receipt(send, names).model_copy(update={"message_id": message_id})

    async def send_free_form(self, send: Send, names: SendNames) -> SendReceipt:
        """Send the text of ``send`` into its thread: one POST. Accepted is not sent: outside the window it fails later.

        A flow starts by a template alone on WhatsApp, so a send with one is refused here.
        """
        self._refuse_if(mapping.missing_in_text(send))
        attributes: dict[str, JsonValue] = {
            "sendBy": self._settings.sent_by,
            "messageThreadId": send.thread_id,
            "payload": mapping.text_message(send),
        }
        request = Request("send a text", "POST", "/messages", body=document("messages", attributes))
        message_id = await self._sent(request, "the message's id")
        return self._receipt(send, names).model_copy(update={"message_id": message_id})

    async def read_flow_run(self, run_id: str) -> FlowRun:
        """How a run stands now."""
        run = await self._find_run(run_id)
        if run is None:
            text = f"account {self._account}: read a flow run: there is no run {run_id}"
            raise ProviderRejected(text, scope=Scope.MESSAGE, code="http-404")
        return run

    async def find_flow_runs(self, search: FlowRunSearch) -> Sequence[FlowRun]:
        """Runs of the thread that may be the one searched for; filtered here again, whatever the filter did (A-R4)."""
        filters = (("filter[messageThreadId]", search.thread_id),)
        found = await self._resources.every("list flow runs", "/flow-runs", filters)
        runs = [mapping.flow_run(r.id, RunAttributes.model_validate(r.attributes), self._settings) for r in found]
        return mapping.runs_that_fit(runs, search)

    async def end_conversation(self, request: EndConversation) -> FlowRunStatus | None:
        """Pause the thread when asked, and cancel the run. Both are tried before the first failure is raised."""
        failures: list[NotSent] = []
        status: FlowRunStatus | None = None
        if request.pause_thread and request.thread_id:
            try:
                await self._pause(request.thread_id)
            except NotSent as failure:
                failures.append(failure)
        if request.run_id:
            try:
                status = await self._cancel(request.run_id)
            except NotSent as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
        return status

    async def _existing(self, template: TemplateRef) -> TemplateReading | None:
        found = await self._resources.template_named(template.name, template.language)
        return self._template(found) if found is not None else None

    def _template(self, found: Resource) -> TemplateReading:
        return mapping.template_reading(found.id, TemplateAttributes.model_validate(found.attributes), self._settings)

    async def _find_thread_if_asked(self, identifier: str) -> MessageThread | None:
        """A look-up that cannot be done does not stand in the way: opening tells as well (A-R2)."""
        if not self._settings.find_threads:
            return None
        try:
            return await self._find_thread(identifier)
        except ProviderRejected as refused:
            if refused.scope is Scope.MESSAGE:
                return None
            raise

    async def _find_thread(self, identifier: str) -> MessageThread | None:
        filters = (("filter[channel]", mapping.CHANNEL), ("filter[identifier]", identifier))
        return mapping.thread_of(await self._resources.every("find a thread", "/message-threads", filters), identifier)

    async def _existing_thread(self, identifier: str) -> MessageThread:
        found = await self._find_thread(identifier)
        if found is None:
            text = f"account {self._account}: open a thread: it exists (409) but is not listed yet; try again"
            raise ProviderUnavailable(text, scope=Scope.MESSAGE, code="thread-not-listed")
        return found

    async def _sent(self, request: Request, what: str) -> str:
        answer = await self._http.send(request)
        created = resource_in(answer)
        if created is None:
            raise answer.unusable(f"without {what}")
        return created.id

    def _receipt(self, send: Send, names: SendNames) -> SendReceipt:
        alias = mapping.thread_alias(self._account, send.thread_id)
        return SendReceipt(reference=names.reference, thread_id=send.thread_id, aliases=alias)

    def _refuse_if(self, missing: list[str]) -> None:
        if missing:
            text = f"account {self._account}: not sent: {'; '.join(missing)}"
            raise ProviderRejected(text, scope=Scope.MESSAGE, code="incomplete-send")

    async def _find_run(self, run_id: str) -> FlowRun | None:
        found = await self._resources.read("read a flow run", path_to("flow-runs", run_id))
        if found is None:
            return None
        return mapping.flow_run(run_id, RunAttributes.model_validate(found.attributes), self._settings)

    async def _cancel(self, run_id: str) -> FlowRunStatus | None:
        body = document("flowRuns", {"status": "cancelled"}, run_id)
        request = Request("cancel a flow run", "PATCH", path_to("flow-runs", run_id), body=body)
        answer = await self._http.call(request, also=_ALREADY_OVER)
        if answer.status not in _ALREADY_OVER:
            after = resource_in(answer)
            word = RunAttributes.model_validate(after.attributes).status if after else ""
            return mapping.run_status(word) if mapping.run_status(word).is_end else FlowRunStatus.CANCELLED
        run = await self._find_run(run_id)
        if run is None:
            return None
        if run.flow_run_status.is_end:
            return run.flow_run_status
        text = f"account {self._account}: cancel a flow run: refused ({answer.status}) though the run has not ended"
        raise ProviderRejected(text, scope=Scope.MESSAGE, code=f"http-{answer.status}", request_id=answer.request_id)

    async def _pause(self, thread_id: str) -> None:
        body = document("messageThreads", {"chatbotPaused": True}, thread_id)
        request = Request("pause a thread", "PATCH", path_to("message-threads", thread_id), body=body)
        await self._http.call(request, also=frozenset({404}))
