"""The script of Meta: what happens there without a request of the client. Under `/control/meta`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException
from pydantic import JsonValue, StringConstraints

from sandbox.behind import behind
from sandbox.meta.api import MetaApi
from sandbox.meta.book import Conversation, Message, Template
from sandbox.meta.desk import Desk
from sandbox.meta.review import Score
from sandbox.meta.settings import GraphId, PhoneNumber, Seconds
from sandbox.values import Frozen, Instant, JsonObject

Word = Annotated[str, StringConstraints(min_length=1)]


class TemplateVerdict(Frozen):
    """What happens to a template: another status, or only an event such as FLAGGED that leaves it in force."""

    status: Word | None = None
    event: Word | None = None
    reason: str | None = "NONE"
    more: JsonObject = {}
    """Members laid over the webhook's value, such as ``rejection_info``."""


class Rating(Frozen):
    """Another quality; RED pauses."""

    score: Score


class Recategorised(Frozen):
    """Another category."""

    category: Word


class Holding(Frozen):
    """How messages of a template are held back; None lets go those that wait, as ``then`` says."""

    message_status: Literal["held_for_quality_assessment", "paused"] | None
    then: Literal["sent", "failed"] = "sent"


class Inbound(Frozen):
    """Something that a candidate sends now. Any type, also one that nobody knows."""

    number: PhoneNumber
    line: GraphId | None = None
    """The phone number id; the first line of the account when left out."""
    account: str | None = None
    type: Word = "text"
    text: str | None = None
    """Short for the content of a text."""
    content: JsonObject = {}
    """Members beside ``type``, such as ``{"button": {…}}`` or ``{"errors": […]}``."""
    context: str | None = None
    """The id of the message that is answered."""
    contact: bool = True
    """Whether ``contacts`` comes along."""


class Submission(Frozen):
    """A form that a candidate sends now for a message; ``raw`` goes into ``response_json`` as it is."""

    answers: JsonObject = {}
    raw: str | None = None
    token: bool = True
    context: bool = True


class MessageVerdict(Frozen):
    """A status that is told now, whatever was told before."""

    status: Word
    code: int = 131000
    """For ``failed``."""
    details: str = "Something went wrong."


class Preference(Frozen):
    """A candidate stops marketing, or resumes it."""

    number: PhoneNumber
    line: GraphId | None = None
    account: str | None = None
    value: Literal["stop", "resume"]


class FlowVerdict(Frozen):
    """Another status for a Flow."""

    status: Word


class Renumbered(Frozen):
    """A number whose WhatsApp id differs from what is dialled, from its next conversation on."""

    number: PhoneNumber
    wa_id: PhoneNumber
    account: str | None = None


class RawChange(Frozen):
    """A change of any field."""

    field: Word
    value: JsonObject
    time: int | None = None
    account: str | None = None


class RawBody(Frozen):
    """Any bytes, signed rightly."""

    text: str
    account: str | None = None


class Batching(Frozen):
    """For how long changes wait for each other; 0 delivers each alone."""

    seconds: Seconds
    account: str | None = None


class Handshake(Frozen):
    """A subscription handshake that is begun now."""

    account: str | None = None
    url: str | None = None
    mode: str = "subscribe"
    token: str | None = None
    """Another than the account's own."""
    challenge: str | None = "1158201444"


class Handshaken(Frozen):
    """How the receiver answered. ``verified``: 200 with the challenge and nothing else."""

    verified: bool
    status: int | None
    body: str
    content_type: str


class MessageView(Frozen):
    """A message that was taken."""

    id: str
    account: str
    line: str
    number: str
    wa_id: str
    kind: str
    template: str | None
    reference: str | None
    flow_token: str
    status: str
    at: Instant


class MessageViews(Frozen):
    """Messages in the order in which they were taken."""

    count: int
    messages: tuple[MessageView, ...]


class MetaControl:
    """Scripted events and a look into the books. An event is answered when its webhooks were answered or failed."""

    def __init__(self, api: MetaApi) -> None:
        self._api = api

    @staticmethod
    def router() -> APIRouter:
        """The addresses of this part of the control API."""
        router = APIRouter(prefix="/meta", tags=["meta"])
        router.add_api_route("/templates", MetaControl.templates, methods=["GET"])
        router.add_api_route("/templates/{template_id}", MetaControl.judge_template, methods=["POST"])
        router.add_api_route("/templates/{template_id}/quality", MetaControl.rate_template, methods=["POST"])
        router.add_api_route("/templates/{template_id}/pause", MetaControl.pause_template, methods=["POST"])
        router.add_api_route("/templates/{template_id}/category", MetaControl.recategorise_template, methods=["POST"])
        router.add_api_route("/templates/{template_id}/holding", MetaControl.hold_template, methods=["POST"])
        router.add_api_route("/messages", MetaControl.messages, methods=["GET"])
        router.add_api_route("/messages/{message_id}/status", MetaControl.judge_message, methods=["POST"])
        router.add_api_route("/messages/{message_id}/submit", MetaControl.submit, methods=["POST"])
        router.add_api_route("/inbound", MetaControl.inbound, methods=["POST"])
        router.add_api_route("/preferences", MetaControl.prefer, methods=["POST"])
        router.add_api_route("/flows/{flow_id}", MetaControl.judge_flow, methods=["POST"])
        router.add_api_route("/wa-ids", MetaControl.renumber, methods=["POST"])
        router.add_api_route("/changes", MetaControl.change, methods=["POST"])
        router.add_api_route("/bytes", MetaControl.deliver_bytes, methods=["POST"])
        router.add_api_route("/batching", MetaControl.batch, methods=["POST"])
        router.add_api_route("/handshake", MetaControl.handshake, methods=["POST"])
        return router

    # -- templates

    async def templates(self: "Here") -> list[JsonValue]:
        """Every template with all that the API can show."""
        return [t.document() for desk in self._api.desks.values() for t in desk.book.templates.values()]

    async def judge_template(self: "Here", template_id: str, verdict: TemplateVerdict) -> JsonObject:
        """Give a template another status, or tell an event about it."""
        desk, template = self._template(template_id)
        if verdict.status is not None:
            changes = desk.review.judge(template, verdict.status, verdict.reason, verdict.more)
        elif verdict.event is not None:
            changes = [desk.review.event(template, verdict.event, verdict.reason, verdict.more)]
        else:
            raise HTTPException(422, "status or event is required")
        await desk.hooks.tell(changes)
        return template.document()

    async def rate_template(self: "Here", template_id: str, rating: Rating) -> JsonObject:
        """Another quality; RED pauses an approved template."""
        desk, template = self._template(template_id)
        await desk.hooks.tell(desk.review.rate(template, rating.score))
        return template.document()

    async def pause_template(self: "Here", template_id: str) -> JsonObject:
        """Pause for low quality: 3 h, the second time 6 h, then DISABLED."""
        desk, template = self._template(template_id)
        await desk.hooks.tell(desk.review.pause(template))
        return template.document()

    async def recategorise_template(self: "Here", template_id: str, wanted: Recategorised) -> JsonObject:
        """Put a template into another category."""
        desk, template = self._template(template_id)
        await desk.hooks.tell(desk.review.recategorise(template, wanted.category))
        return template.document()

    async def hold_template(self: "Here", template_id: str, holding: Holding) -> JsonObject:
        """Hold messages of a template back after they are taken, or let them go."""
        desk, template = self._template(template_id)
        template.held_as = holding.message_status
        if holding.message_status is None:
            waiting, template.held = template.held, []
            for message in waiting:
                if holding.then == "failed":
                    message.failure = (132015, "Template is paused due to low quality")
                await desk.hooks.tell(desk.life.dispatch(message))
        return template.document()

    # -- messages

    async def messages(
        self: "Here", number: str | None = None, status: str | None = None, reference: str | None = None
    ) -> MessageViews:
        """The messages that were taken and fit."""
        views = [_view(desk, message) for desk in self._api.desks.values() for message in desk.book.messages.values()]
        found = tuple(
            view
            for view in views
            if number in (None, view.number) and status in (None, view.status) and reference in (None, view.reference)
        )
        return MessageViews(count=len(found), messages=found)

    async def judge_message(self: "Here", message_id: str, verdict: MessageVerdict) -> MessageView:
        """Tell a status of a message now, whatever came before."""
        desk, message = self._message(message_id)
        message.failure = (verdict.code, verdict.details) if verdict.status == "failed" else message.failure
        await desk.hooks.tell(desk.life.force(message, verdict.status))
        return _view(desk, message)

    async def submit(self: "Here", message_id: str, submission: Submission) -> MessageView:
        """Send the form of a message now."""
        desk, message = self._message(message_id)
        answers = submission.answers if submission.raw is None else submission.raw
        await desk.hooks.tell(desk.life.submit(message, answers, token=submission.token, context=submission.context))
        return _view(desk, message)

    async def inbound(self: "Here", said: Inbound) -> JsonObject:
        """Let a candidate send something now."""
        desk, conversation = self._conversation(said.account, said.line, said.number)
        content: JsonObject = {**({"text": {"body": said.text}} if said.text is not None else {}), **said.content}
        change = desk.life.inbound(conversation, said.type, content, answers=said.context, contact=said.contact)
        await desk.hooks.tell([change])
        return {"id": change.about}

    async def prefer(self: "Here", wanted: Preference) -> JsonObject:
        """Let a candidate stop or resume marketing: all lines of the account."""
        desk, conversation = self._conversation(wanted.account, wanted.line, wanted.number)
        if wanted.value == "stop":
            desk.book.stopped.add(conversation.wa_id)
        else:
            desk.book.stopped.discard(conversation.wa_id)
        await desk.hooks.tell([desk.hooks.preference(conversation, wanted.value)])
        return {"wa_id": conversation.wa_id, "value": wanted.value}

    # -- the rest

    async def judge_flow(self: "Here", flow_id: str, verdict: FlowVerdict) -> JsonObject:
        """Give a Flow another status."""
        for desk in self._api.desks.values():
            flow = desk.book.flows.get(flow_id)
            if flow is not None:
                before, flow.status = flow.status, verdict.status
                await desk.hooks.tell([desk.hooks.flow(flow, before)])
                return {"id": flow.of.id, "name": flow.of.name, "status": flow.status}
        raise HTTPException(404, "no flow of this id")

    async def renumber(self: "Here", wanted: Renumbered) -> JsonObject:
        """Give a number another WhatsApp id."""
        self._desk(wanted.account).book.wa_ids[wanted.number] = wanted.wa_id
        return {"number": wanted.number, "wa_id": wanted.wa_id}

    async def change(self: "Here", wanted: RawChange) -> JsonObject:
        """Deliver a change of any field."""
        desk = self._desk(wanted.account)
        await desk.hooks.tell([desk.hooks.raw(wanted.field, wanted.value, wanted.time)])
        return {"field": wanted.field}

    async def deliver_bytes(self: "Here", wanted: RawBody) -> JsonObject:
        """Sign and deliver any text, JSON or not."""
        await self._desk(wanted.account).hooks.deliver_bytes(wanted.text.encode(), "raw:bytes")
        return {"bytes": len(wanted.text.encode())}

    async def batch(self: "Here", wanted: Batching) -> JsonObject:
        """Let changes wait for each other from now on."""
        self._desk(wanted.account).hooks.batch_seconds = wanted.seconds
        return {"seconds": wanted.seconds}

    async def handshake(self: "Here", wanted: Handshake) -> Handshaken:
        """Subscribe: an unsigned GET to the receiver."""
        desk = self._desk(wanted.account)
        url = wanted.url or desk.account.webhook_url
        if url is None:
            raise HTTPException(422, "the account has no webhook_url, and no url is named")
        token = desk.account.verify_token.get_secret_value() if wanted.token is None else wanted.token
        query = {"hub.mode": wanted.mode, "hub.verify_token": token}
        if wanted.challenge is not None:
            query["hub.challenge"] = wanted.challenge
        answer = await desk.world.webhooks.ask(url, query)
        if answer is None:
            return Handshaken(verified=False, status=None, body="", content_type="")
        verified = answer.status_code == 200 and answer.text == wanted.challenge
        content_type = answer.headers.get("content-type", "")
        return Handshaken(verified=verified, status=answer.status_code, body=answer.text, content_type=content_type)

    # -- who is meant

    def _desk(self, account: str | None) -> Desk:
        for desk in self._api.desks.values():
            if account in (None, desk.account.name):
                return desk
        raise HTTPException(404, "no Meta account of this name")

    def _template(self, template_id: str) -> tuple[Desk, Template]:
        for desk in self._api.desks.values():
            if template_id in desk.book.templates:
                return desk, desk.book.templates[template_id]
        raise HTTPException(404, "no template of this id")

    def _message(self, message_id: str) -> tuple[Desk, Message]:
        for desk in self._api.desks.values():
            if message_id in desk.book.messages:
                return desk, desk.book.messages[message_id]
        raise HTTPException(404, "no message of this id")

    def _conversation(self, account: str | None, line: str | None, number: str) -> tuple[Desk, Conversation]:
        desk = self._desk(account)
        wanted = line if line is not None else next(iter(desk.book.lines))
        if wanted not in desk.book.lines:
            raise HTTPException(404, "no line of this phone number id")
        return desk, desk.book.conversation(desk.book.lines[wanted], number)


Here = Annotated[MetaControl, Depends(behind(MetaControl))]
"""This part of the sandbox that is asked."""


def _view(desk: Desk, message: Message) -> MessageView:
    conversation = message.conversation
    return MessageView(
        id=message.id,
        account=desk.account.name,
        line=conversation.line.phone_number_id,
        number=conversation.number,
        wa_id=conversation.wa_id,
        kind=message.kind,
        template=message.template.name if message.template is not None else None,
        reference=message.reference,
        flow_token=message.flow_token,
        status=message.status,
        at=message.at,
    )
