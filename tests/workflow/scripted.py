"""A provider that follows a script, behind the real port: what it answers is told, what it was asked is kept."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from domain.calls import AtsNotice, EndConversation
from domain.engagements import Capabilities
from domain.errors import NotSent, ProviderRejected
from domain.events import FlowRunStatus
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

THREADED = Capabilities(
    has_threads=True,
    can_read_runs=True,
    can_create_templates=True,
    can_cancel_runs=True,
    reads_templates_by_id=True,
    free_form_window=False,
    one_live_run_per_thread=True,
    confirms_ends=True,
)
PUSHED = THREADED.model_copy(
    update={
        "has_threads": False,
        "can_read_runs": False,
        "can_cancel_runs": False,
        "one_live_run_per_thread": False,
        "confirms_ends": False,
    }
)

Ending = Exception | None


@dataclass
class ScriptedProvider:
    """Takes the next ending of a script at each call; an exhausted script means that the call goes well.

    ``effects`` are the messages that reached the phone: also those whose answer the script loses afterwards.
    """

    capabilities: Capabilities = THREADED
    ids: str = ""
    """What its ids begin with, so that those of two providers differ."""
    send_endings: list[Ending] = field(default_factory=list)
    lost_without_effect: bool = False
    templates: list[TemplateStatus | TemplateReading | Exception] = field(default_factory=list)
    shut: dict[str, TemplateStatus] = field(default_factory=dict)
    """Templates that stay in a status until a test changes it, by name."""
    submissions: list[TemplateSpecification] = field(default_factory=list)
    """What the provider was given, also where the script loses its answer."""
    submit_endings: list[Ending] = field(default_factory=list)
    runs: dict[str, FlowRun] = field(default_factory=dict)
    read_endings: list[Ending] = field(default_factory=list)
    find_endings: list[Ending] = field(default_factory=list)
    extra_runs: list[FlowRun] = field(default_factory=list)
    effects: list[Send] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    ended: list[EndConversation] = field(default_factory=list)
    on_send: Callable[[Send, SendNames], None] = lambda send, its: None
    pause_before: tuple[asyncio.Event, asyncio.Event] | None = None
    pause_after: tuple[asyncio.Event, asyncio.Event] | None = None
    """Reached and go-on: the request is held up before, or its answer after, the message reached the phone."""
    pause_message: tuple[asyncio.Event, asyncio.Event] | None = None
    """The same for a message without a flow, before it reached the phone."""
    pause_at: dict[str, tuple[asyncio.Event, asyncio.Event]] = field(default_factory=dict)
    """The same for requests that send nothing, by their names in ``requests``, before they are answered."""

    async def read_template(self, template: TemplateRef, flow: FlowRef | None) -> TemplateReading:
        self.requests.append("read_template")
        await _held_up(self.pause_at.get("read_template"))
        if template.name in self.shut:
            return TemplateReading(template_status=self.shut[template.name], provider_id=template.id)
        told = self.templates.pop(0) if self.templates else TemplateStatus.APPROVED
        if isinstance(told, Exception):
            raise told
        if isinstance(told, TemplateReading):
            return told
        return TemplateReading(template_status=told, provider_id=template.id)

    async def submit_template(self, specification: TemplateSpecification) -> TemplateReading:
        self.requests.append("submit_template")
        ending = self.submit_endings.pop(0) if self.submit_endings else None
        if ending is None or self._reaches_phone(ending):
            self.submissions.append(specification)
        if ending is not None:
            raise ending
        return TemplateReading(
            template_status=TemplateStatus.PENDING,
            provider_id=f"template-{len(self.submissions)}",
            category=specification.category.value,
        )

    async def open_thread(self, address: str) -> MessageThread:
        self.requests.append("open_thread")
        await _held_up(self.pause_at.get("open_thread"))
        return MessageThread(thread_id=f"{self.ids}thread-1")

    async def trigger_flow(self, send: Send, names: SendNames) -> SendReceipt:
        self.requests.append("trigger_flow")
        run_id = f"{self.ids}run-{len(self.runs) + 1}"
        self.on_send(send, names)
        await _held_up(self.pause_before)
        receipt = self._effect(send, SendReceipt(reference=names.reference, run_id=run_id), names)
        await _held_up(self.pause_after)
        return receipt

    async def send_message(self, send: Send, names: SendNames) -> SendReceipt:
        self.requests.append("send_message")
        await _held_up(self.pause_message)
        return self._effect(send, SendReceipt(message_id=f"{self.ids}message-{len(self.effects) + 1}"), names)

    async def send_free_form(self, send: Send, names: SendNames) -> SendReceipt:
        self.requests.append("send_free_form")
        self.on_send(send, names)
        receipt = SendReceipt(reference=names.reference, message_id=f"{self.ids}message-{len(self.effects) + 1}")
        return self._effect(send, receipt, names)

    async def read_flow_run(self, run_id: str) -> FlowRun:
        self.requests.append("read_flow_run")
        await _held_up(self.pause_at.get("read_flow_run"))
        self._raise(self.read_endings)
        if run_id not in self.runs:
            raise ProviderRejected("no such run", code="404")
        return self.runs[run_id]

    async def find_flow_runs(self, search: FlowRunSearch) -> Sequence[FlowRun]:
        self.requests.append("find_flow_runs")
        self._raise(self.find_endings)
        found = [run for run in self.runs.values() if run.reference == search.reference]
        return [*found, *self.extra_runs]

    async def end_conversation(self, request: EndConversation) -> FlowRunStatus | None:
        self.ended.append(request)
        if request.run_id in self.runs and not self.runs[request.run_id].flow_run_status.is_end:
            self.become(request.run_id, FlowRunStatus.CANCELLED)
        return self.runs[request.run_id].flow_run_status if request.run_id in self.runs else None

    async def close(self) -> None:
        return None

    def become(self, run_id: str, status: FlowRunStatus, **answers: str) -> None:
        """Let a run reach a status."""
        self.runs[run_id] = self.runs[run_id].model_copy(update={"flow_run_status": status, "answers": dict(answers)})

    def _effect(self, send: Send, receipt: SendReceipt, names: SendNames) -> SendReceipt:
        ending = self.send_endings.pop(0) if self.send_endings else None
        if ending is None or (not isinstance(ending, ProviderRejected) and self._reaches_phone(ending)):
            self.effects.append(send)
            if receipt.run_id:
                self.runs[receipt.run_id] = FlowRun(
                    run_id=receipt.run_id,
                    flow_run_status=FlowRunStatus.RUNNING,
                    reference=names.reference,
                    thread_id=send.thread_id,
                    created_at=datetime.now(UTC),
                )
        if ending is not None:
            raise ending
        return receipt

    def _reaches_phone(self, ending: Exception) -> bool:
        return not isinstance(ending, NotSent) and not self.lost_without_effect

    @staticmethod
    def _raise(script: list[Ending]) -> None:
        ending = script.pop(0) if script else None
        if ending is not None:
            raise ending


async def _held_up(pause: tuple[asyncio.Event, asyncio.Event] | None) -> None:
    if pause is not None:
        reached, go_on = pause
        reached.set()
        await go_on.wait()


@dataclass
class OneAccount:
    """The accounts of a worker that has one, unless a test gives it others."""

    only: ScriptedProvider
    others: dict[str, ScriptedProvider] = field(default_factory=dict)

    def provider(self, account: str) -> ScriptedProvider:
        return self.others.get(account, self.only)


@dataclass
class HeardNotices:
    """An ATS that takes everything."""

    notices: list[AtsNotice] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)

    async def notify(self, tenant: str, notice: AtsNotice) -> None:
        ending = self.endings.pop(0) if self.endings else None
        if ending is not None:
            raise ending
        self.notices.append(notice)

    async def close(self) -> None:
        return None
