"""What one organisation has at Recrubo: threads, runs, messages, templates, and how each is shown."""

import re
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

from sandbox.clock import Due
from sandbox.ids import Mint
from sandbox.recrubo.envelope import Resource, written
from sandbox.settings import FlowSettings, RecruboAccount, Subscription, TemplateSettings
from sandbox.values import JsonObject

ENDS = frozenset({"finished", "timeout", "cancelled", "exception"})
NOT_STARTED = frozenset({"created", "queued"})
_VARIABLE = re.compile(r"\{\{(\d+)\}\}")


def variables(text: str) -> list[int]:
    """The numbers of the variables in a template text, each once, ascending."""
    return sorted({int(number) for number in _VARIABLE.findall(text)})


@dataclass
class Thread:
    """A conversation with one number."""

    id: str
    identifier: str
    created_at: datetime
    updated_at: datetime
    paused: bool = False
    last_inbound: datetime | None = None
    runs: list["Run"] = field(default_factory=list)
    messages: int = 0

    def live_runs(self) -> list["Run"]:
        """The runs that have not ended, oldest first."""
        return [run for run in self.runs if run.status not in ENDS]

    def resource(self) -> Resource:
        """As the API shows it."""
        return Resource(
            "messageThreads",
            self.id,
            {
                "channel": "whatsapp",
                "identifier": self.identifier,
                "chatbotPaused": self.paused,
                "createdAt": written(self.created_at),
                "updatedAt": written(self.updated_at),
            },
        )


@dataclass
class Template:
    """A message template."""

    id: str
    name: str
    language: str
    category: str
    components: list[JsonObject]
    preview: str
    status: str
    created_at: datetime
    updated_at: datetime
    reason: str | None = None

    def text(self, component: str) -> str:
        """The text of the header, body or footer; empty when it has none."""
        return next((str(c["text"]) for c in self.components if c["type"] == component.upper()), "")

    def filled(self, values: dict[str, list[str]]) -> str:
        """What the candidate reads: the parts below each other, variables filled by component."""
        lines = []
        for part in ("header", "body", "footer"):
            given = values.get(part, [])
            text = self.text(part)
            for number in variables(text):
                text = text.replace(f"{{{{{number}}}}}", given[number - 1] if number <= len(given) else "")
            lines += [text] if text else []
        return "\n".join(lines)

    def resource(self) -> Resource:
        """As the API shows it. ``rejectedReason`` is not documented; it is shown only when there is one."""
        attributes: JsonObject = {
            "name": self.name,
            "language": self.language,
            "category": self.category,
            "status": self.status,
            "components": [*self.components],
            "preview": self.preview,
            "createdAt": written(self.created_at),
            "updatedAt": written(self.updated_at),
        }
        if self.reason is not None:
            attributes["rejectedReason"] = self.reason
        return Resource("messageTemplates", self.id, attributes)


@dataclass
class Run:
    """One execution of a flow on a thread."""

    id: str
    thread: Thread
    flow: FlowSettings
    template: Template
    values: dict[str, list[str]]
    state: JsonObject
    initial_message: JsonObject
    status: str
    created_at: datetime
    updated_at: datetime
    visible_at: datetime
    cost: int = 0
    session: Due | None = None
    """The end of the session, if the candidate stays silent."""

    @property
    def reference(self) -> str | None:
        """The client's own reference, where it put one into the state."""
        reference = self.state.get("clientReference")
        return reference if isinstance(reference, str) else None

    def resource(self) -> Resource:
        """As the API shows it."""
        return Resource(
            "flowRuns",
            self.id,
            {
                "createdAt": written(self.created_at),
                "updatedAt": written(self.updated_at),
                "flowId": self.flow.id,
                "messageThreadId": self.thread.id,
                "state": dict(self.state),
                "initialMessage": self.initial_message,
                "context": {},
                "status": self.status,
                "cost": self.cost,
            },
        )


@dataclass
class ThreadMessage:
    """A message of a thread, in either direction."""

    id: str
    thread: Thread
    sent_by: str | None
    origin: str
    payload: JsonObject
    delivery: str | None
    created_at: datetime
    updated_at: datetime
    template: Template | None = None
    text: str = ""
    errors: list[str] = field(default_factory=list)

    def resource(self) -> Resource:
        """As the API shows it."""
        errors: list[JsonValue] = [*self.errors]
        return Resource(
            "messages",
            self.id,
            {
                "createdAt": written(self.created_at),
                "updatedAt": written(self.updated_at),
                "sendBy": self.sent_by,
                "origin": self.origin,
                "messageThreadId": self.thread.id,
                "payload": self.payload,
                "deliveryStatus": self.delivery,
                "errorMessages": errors,
            },
        )


class Book:
    """Everything of one organisation, in the order of its creation."""

    def __init__(self, account: RecruboAccount, mint: Mint, now: datetime) -> None:
        self._account = account
        self._mint = mint
        self.threads: dict[str, Thread] = {}
        self._threads_of: dict[str, list[Thread]] = {}
        self.runs: dict[str, Run] = {}
        self.messages: dict[str, ThreadMessage] = {}
        self.templates: dict[str, Template] = {}
        self.flows = {flow.id: flow for flow in account.flows}
        self.webhook_url = account.webhook_url
        self.webhook_secret = account.webhook_secret.get_secret_value() if account.webhook_secret else None
        self.subscriptions: dict[str, Subscription] = {}
        for subscription in account.subscriptions:
            self.subscribe(subscription)
        for template in account.templates:
            self.templates[template.id] = _from_settings(template, now)

    def mint(self, kind: str, *parts: str | int) -> str:
        """An id for something of this organisation."""
        return self._mint.id("recrubo", self._account.name, kind, *parts)

    def subscribe(self, subscription: Subscription) -> str:
        """Add a webhook subscription; returns its id."""
        webhook_id = self.mint("webhook", len(self.subscriptions))
        self.subscriptions[webhook_id] = subscription
        return webhook_id

    def open_thread(self, identifier: str, now: datetime) -> Thread:
        """Add a thread."""
        earlier = len(self.threads_of(identifier))
        thread = Thread(self.mint("thread", identifier, earlier), identifier, now, now)
        self.threads[thread.id] = thread
        self._threads_of.setdefault(identifier, []).append(thread)
        return thread

    def threads_of(self, identifier: str) -> list[Thread]:
        """The threads with a number, oldest first."""
        return self._threads_of.get(identifier, [])

    def add_run(self, run: Run) -> Run:
        """Add a run; its id was minted for it."""
        run.thread.runs.append(run)
        self.runs[run.id] = run
        return run

    def add_message(
        self,
        thread: Thread,
        now: datetime,
        payload: JsonObject,
        *,
        sent_by: str | None,
        text: str,
        template: Template | None = None,
    ) -> ThreadMessage:
        """Add a message; one that nobody of us sent is inbound and has no delivery status."""
        inbound = sent_by is None
        message = ThreadMessage(
            id=self.mint("message", thread.id, thread.messages),
            thread=thread,
            sent_by=sent_by,
            origin="inbound" if inbound else "outbound",
            payload=payload,
            delivery=None if inbound else "accepted",
            created_at=now,
            updated_at=now,
            template=template,
            text=text,
        )
        thread.messages += 1
        self.messages[message.id] = message
        return message


def _from_settings(template: TemplateSettings, now: datetime) -> Template:
    components: list[JsonObject] = []
    if template.header is not None:
        components.append({"type": "HEADER", "format": "Text", "text": template.header})
    components.append({"type": "BODY", "text": template.body})
    if template.footer is not None:
        components.append({"type": "FOOTER", "text": template.footer})
    return Template(
        id=template.id,
        name=template.name,
        language=template.language,
        category=template.category,
        components=components,
        preview=template.body,
        status=template.status,
        created_at=now,
        updated_at=now,
    )
