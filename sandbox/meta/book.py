"""What one business account has at Meta: templates, Flows, messages and conversations."""

import base64
import hashlib
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import JsonValue

from sandbox.clock import Due
from sandbox.ids import Mint
from sandbox.meta.settings import UNUSED_TOKEN, MetaAccount, MetaFlow, MetaLine, MetaTemplate
from sandbox.values import JsonObject

_VARIABLE = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
WINDOW = timedelta(hours=24)
"""How long after a message of the user anything may be sent to them."""


def variables(text: str) -> list[str]:
    """The variables of a template text in the order of their first appearance, each once."""
    return list(dict.fromkeys(_VARIABLE.findall(text)))


@dataclass
class Flow:
    """A form. Its settings never change, its status may."""

    of: MetaFlow
    status: str
    sends: deque[datetime] = field(default_factory=deque)
    """When it was sent lately: a throttled Flow goes out ten times an hour."""


@dataclass
class Template:
    """A message template. ``components`` are as the API shows them, types in capitals."""

    id: str
    place: int
    """Its place in lists, which never changes."""
    name: str
    language: str
    category: str
    parameter_format: str
    components: list[JsonObject]
    status: str
    reason: str = "NONE"
    score: str = "UNKNOWN"
    pauses: int = 0
    unpause: Due | None = None
    held_as: str | None = None
    """``message_status`` of messages that are taken and held back; None while they go out."""
    held: list["Message"] = field(default_factory=list)

    def text(self, part: str) -> str:
        """The text of the header, body or footer; empty when it has none."""
        return next((str(c["text"]) for c in self.components if c["type"] == part), "")

    @property
    def buttons(self) -> list[JsonObject]:
        """Its buttons in order."""
        for component in self.components:
            listed = component.get("buttons")
            if component["type"] == "BUTTONS" and isinstance(listed, list):
                return [button for button in listed if isinstance(button, dict)]
        return []

    def filled(self, values: dict[str, str]) -> str:
        """What the candidate reads: the parts below each other, the body's variables filled."""
        body = _VARIABLE.sub(lambda found: values.get(found.group(1), ""), self.text("BODY"))
        return "\n".join(part for part in (self.text("HEADER"), body, self.text("FOOTER")) if part)

    def document(self) -> JsonObject:
        """Every member that the API can show."""
        components: list[JsonValue] = [*self.components]
        return {
            "id": self.id,
            "name": self.name,
            "language": self.language,
            "status": self.status,
            "category": self.category,
            "components": components,
            "quality_score": {"score": self.score},
            "rejected_reason": self.reason,
            "parameter_format": self.parameter_format,
        }


@dataclass
class Conversation:
    """What passes between one line and one person."""

    line: MetaLine
    number: str
    """As it was dialled."""
    wa_id: str
    """As webhooks call the person."""
    last_inbound: datetime | None = None
    blocked: bool = False
    messages: int = 0
    credit: float | None = None
    """Messages that the pair may still send; None before the first."""
    credited_at: datetime | None = None

    @property
    def lane(self) -> str:
        """The conversation's name for faults and for the order of deliveries."""
        return f"{self.line.phone_number_id}:{self.wa_id}"

    def window_is_open(self, now: datetime) -> bool:
        """Whether anything but a template may be sent."""
        return self.last_inbound is not None and now - self.last_inbound < WINDOW


@dataclass
class Message:
    """A message that was taken."""

    id: str
    conversation: Conversation
    kind: str
    text: str
    reference: str | None
    category: str
    at: datetime
    template: Template | None = None
    flow: Flow | None = None
    flow_token: str = UNUSED_TOKEN
    quick_replies: tuple[tuple[str, str], ...] = ()
    """Label and payload of each."""
    status: str = "accepted"
    held_as: str | None = None
    failure: tuple[int, str] | None = None
    """The code and details with which it will fail."""


class Book:
    """Everything of one account, in the order of its creation."""

    def __init__(self, account: MetaAccount, mint: Mint) -> None:
        self._account = account
        self._mint = mint
        self.lines = {line.phone_number_id: line for line in account.lines}
        self.flows = {flow.id: Flow(flow, flow.status) for flow in account.flows}
        self.templates: dict[str, Template] = {}
        self.messages: dict[str, Message] = {}
        self.wa_ids = dict(account.wa_ids)
        self.stopped: set[str] = set()
        """WhatsApp ids that take no marketing."""
        self.sends: dict[str, deque[datetime]] = {line: deque() for line in self.lines}
        self.creations: deque[datetime] = deque()
        self._places = 0
        self._made: Counter[tuple[str, str]] = Counter()
        self._conversations: dict[tuple[str, str], Conversation] = {}
        for template in account.templates:
            self._add_from_settings(template)

    # -- ids

    def mint(self, kind: str, *parts: str | int) -> str:
        """An opaque id for something of this account."""
        return self._mint.id("meta", self._account.name, kind, *parts)

    def number(self, kind: str, *parts: str | int) -> str:
        """An id of seventeen digits, which is more than some tools keep of a JSON number."""
        digest = hashlib.sha256(self.mint(kind, *parts).encode()).digest()
        return str(10**16 + int.from_bytes(digest[:8]) % (9 * 10**16))

    def wamid(self, conversation: Conversation) -> str:
        """The id of the conversation's next message, in either direction. Like Meta's own it holds the number."""
        conversation.messages += 1
        name = hashlib.sha256(self.mint("wamid", conversation.lane, conversation.messages).encode()).hexdigest()
        wa_id = conversation.wa_id.encode()
        raw = b"\x1c\x18" + bytes([len(wa_id)]) + wa_id + b"\x15\x02\x00\x11\x18\x12" + name[:18].upper().encode()
        return "wamid." + base64.b64encode(raw + b"\x00").decode()

    # -- templates

    def template_id(self, name: str, language: str) -> str:
        """The id of the next template of this name and language."""
        return self.number("template", name, language, self._made[(name, language)])

    def add_template(self, template: Template) -> Template:
        """Add a template."""
        self._made[(template.name, template.language)] += 1
        self.templates[template.id] = template
        return template

    def next_place(self) -> int:
        """The place of a new template in lists."""
        self._places += 1
        return self._places

    def template_named(self, name: str, language: str) -> Template | None:
        """The template of exactly this name and language."""
        return next((t for t in self.templates.values() if (t.name, t.language) == (name, language)), None)

    def flow_named(self, name: str) -> Flow | None:
        """The Flow of a name."""
        return next((flow for flow in self.flows.values() if flow.of.name == name), None)

    def shown_id(self, flow_id: str) -> str | int:
        """A Flow's id as components show it."""
        return int(flow_id) if self._account.flow_ids_as_numbers and flow_id.isdigit() else flow_id

    def flow_of(self, template: Template) -> Flow | None:
        """The Flow that a template's button opens."""
        opened = [str(button["flow_id"]) for button in template.buttons if button["type"] == "FLOW"]
        return self.flows.get(opened[0]) if opened else None

    # -- conversations

    def conversation(self, line: MetaLine, number: str) -> Conversation:
        """The conversation of a line with a number, begun if it is the first."""
        wa_id = self.wa_ids.get(number, number)
        key = (line.phone_number_id, wa_id)
        if key not in self._conversations:
            self._conversations[key] = Conversation(line, number, wa_id)
        return self._conversations[key]

    def add_message(self, message: Message) -> Message:
        """Remember a message."""
        self.messages[message.id] = message
        return message

    def _add_from_settings(self, made: MetaTemplate) -> None:
        components: list[JsonObject] = []
        if made.header is not None:
            components.append({"type": "HEADER", "format": "TEXT", "text": made.header})
        components.append({"type": "BODY", "text": made.body})
        if made.footer is not None:
            components.append({"type": "FOOTER", "text": made.footer})
        buttons: list[JsonValue] = []
        if made.flow_id is not None:
            screen = made.navigate_screen or next(iter(self.flows[made.flow_id].of.screens), None)
            shown: JsonObject = {"type": "FLOW", "text": made.button, "flow_action": "navigate"}
            if screen is not None:
                shown["navigate_screen"] = screen
            buttons.append({**shown, "flow_id": self.shown_id(made.flow_id)})
        buttons += [{"type": "QUICK_REPLY", "text": label} for label in made.quick_replies]
        if buttons:
            components.append({"type": "BUTTONS", "buttons": buttons})
        self.add_template(
            Template(
                id=made.id,
                place=self.next_place(),
                name=made.name,
                language=made.language,
                category=made.category,
                parameter_format=made.parameter_format,
                components=components,
                status=made.status,
            )
        )
