"""pywa as a second reading of Meta's pages: its client asks our simulator, its types read our simulator's deliveries.

pywa is taken as it is. It has its own base URL, so the transport below carries its requests to the sandbox.

**Where pywa 4.5 needs more than Meta's pages tell** (see `with_user_ids`): it reads nobody without a business-scoped
user id, and no status without `contacts`. Meta sends both since April 2026; Meta's pages say of them that they "may
accompany", and the simulator leaves them out.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from pydantic import JsonValue, SecretStr
from pywa.client import WhatsApp
from pywa.errors import ReEngagementMessage
from pywa.handlers import (
    CallbackButtonHandler,
    CallbackSelectionHandler,
    FlowCompletionHandler,
    MessageHandler,
    MessageStatusHandler,
    TemplateCategoryUpdateHandler,
    TemplateQualityUpdateHandler,
    TemplateStatusUpdateHandler,
    UserMarketingPreferencesHandler,
)
from pywa.types.base_update import BaseUpdate, BaseUserUpdate
from pywa.types.callback import CallbackButton, CallbackSelection
from pywa.types.flows import FlowActionType, FlowCompletion
from pywa.types.message import Message
from pywa.types.message_status import MessageStatus
from pywa.types.others import ReplyToMessage
from pywa.types.sent_update import SentTemplate
from pywa.types.templates import (
    FlowButton,
    TemplateCategoryUpdate,
    TemplateLanguage,
    TemplateQualityUpdate,
    TemplateRejectionReason,
    TemplateStatusUpdate,
)
from pywa.types.user import BaseUser
from pywa.types.user_preferences import UserMarketingPreferences

from domain.contacts import Alias, AliasKind
from domain.events import (
    EventBody,
    FormAnswered,
    MessageStatusChanged,
    OptInReceived,
    OptOutReceived,
    ProviderEvent,
    TemplateChanged,
    TextReceived,
    Ties,
)
from domain.events import MessageStatus as OurStatus
from providers.meta.webhook import MetaWebhookReader
from tests.contract.meta_bench import ACCOUNT, SETTINGS
from tests.unit.sandbox.meta_playground import (
    APP_SECRET,
    FLOW,
    FLOW_TOKEN,
    LINE,
    NUMBER,
    REFERENCE,
    SCREEN,
    TOKEN,
    VERIFY_TOKEN,
    WABA,
    MetaHook,
    MetaPlay,
    listed,
)
from tests.unit.sandbox.playground import NOW, TRUST, JsonObject

GRAPH = "graph.facebook.com"
USER_ID = "US.13491208655302741918"
UNDELIVERABLE = 131026

READER = MetaWebhookReader(
    ACCOUNT, (SecretStr(APP_SECRET),), SETTINGS, clock=lambda: NOW, verify_token=SecretStr(VERIFY_TOKEN)
)

BUTTON = FlowButton(text="Open form", flow_id=FLOW, flow_action=FlowActionType.NAVIGATE, navigate_screen=SCREEN)
ACTION: JsonObject = {"first_name": "Ada"}


class ToSandbox(httpx.BaseTransport):
    """Carries requests that are meant for Graph to the sandbox, and remembers them as they were meant."""

    def __init__(self, sandbox: str) -> None:
        self._sandbox = httpx.URL(sandbox)
        self._wire = httpx.HTTPTransport(verify=TRUST, trust_env=False)
        self.asked: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert (request.url.scheme, request.url.host) == ("https", GRAPH)
        self.asked.append(request)
        url = self._sandbox.copy_with(raw_path=b"/meta" + request.url.raw_path)
        headers = [(name, value) for name, value in request.headers.items() if name != "host"]
        return self._wire.handle_request(httpx.Request(request.method, url, headers=headers, content=request.content))

    def close(self) -> None:
        self._wire.close()


class Peer:
    """A pywa client that keeps what its handlers are given. Its requests block: call them from a thread."""

    def __init__(self, graph: ToSandbox, session: httpx.Client) -> None:
        self.graph = graph
        self.wa = WhatsApp(
            phone_id=LINE,
            token=TOKEN,
            session=session,
            waba_id=WABA,
            app_secret=APP_SECRET,
            verify_token=VERIFY_TOKEN,
            api_version="23.0",
        )
        self._kept: list[BaseUpdate] = []
        self.wa.add_handlers(
            MessageHandler(self._keep),
            MessageStatusHandler(self._keep),
            CallbackButtonHandler(self._keep),
            CallbackSelectionHandler(self._keep),
            FlowCompletionHandler(self._keep),
            TemplateStatusUpdateHandler(self._keep),
            TemplateQualityUpdateHandler(self._keep),
            TemplateCategoryUpdateHandler(self._keep),
            UserMarketingPreferencesHandler(self._keep),
        )

    def _keep(self, _: WhatsApp, update: BaseUpdate) -> None:
        self._kept.append(update)

    def read(self, hook: MetaHook) -> BaseUpdate | None:
        """Verify and read a delivery as pywa's own server does; None where it gives its handlers nothing."""
        assert self.wa.webhook_update_validator(hook.raw, hook.headers["x-hub-signature-256"]) is None
        assert self.wa.webhook_update_handler(hook.raw) == ("ok", 200)
        assert len(self._kept) <= 1
        return self._kept.pop() if self._kept else None

    def last_asked(self) -> httpx.Request:
        return self.graph.asked[-1]


@contextmanager
def peering(play: MetaPlay) -> Iterator[Peer]:
    """A pywa client of a running sandbox."""
    graph = ToSandbox(play.url)
    with httpx.Client(transport=graph, trust_env=False) as session:
        yield Peer(graph, session)


async def with_user_ids(play: MetaPlay, hook: MetaHook) -> MetaHook:
    """Let the simulator tell the same change once more, with the people named as Meta names them since April 2026.

    A contact and a message's writer get a business-scoped user id. A status gets the same, and `contacts` without a
    profile; where the message was undeliverable there is no user, hence no user id either. Nothing else changes.
    """
    [(change_field, value)] = hook.changes
    if change_field not in ("messages", "user_preferences"):
        return hook
    named: dict[str, JsonValue] = {"user_id": USER_ID}
    more: JsonObject = {}
    if "contacts" in value:
        more["contacts"] = [contact | named for contact in listed(value["contacts"])]
    if "messages" in value:
        more["messages"] = [message | {"from_user_id": USER_ID} for message in listed(value["messages"])]
    if "statuses" in value:
        [status] = listed(value["statuses"])
        known = not any(error["code"] == UNDELIVERABLE for error in listed(status.get("errors", [])))
        more["statuses"] = [status | ({"recipient_user_id": USER_ID} if known else {})]
        more["contacts"] = [{"wa_id": status["recipient_id"]} | (named if known else {})]
    await play.tell("meta/changes", field=change_field, value=value | more)
    return play.meta.told[-1]


def as_event(update: BaseUpdate, key: str, *, recipient_fault: bool) -> ProviderEvent:
    """What pywa understood, in our words. Only the key and whose fault a failure is are ours alone."""
    ties, body = _meaning(update, recipient_fault=recipient_fault)
    if isinstance(update, BaseUserUpdate):
        ties = ties.model_copy(update={"line_sender": update.metadata.phone_number_id})
    who = _person(update.from_user) if isinstance(update, BaseUserUpdate) else ()
    return ProviderEvent(key=key, occurred_at=update.timestamp, ties=ties, sender=who, body=body)


def _meaning(update: BaseUpdate, *, recipient_fault: bool) -> tuple[Ties, EventBody]:
    match update:
        case MessageStatus():
            told = MessageStatusChanged(
                message_status=OurStatus(update.status.value),
                raw_status=update.status.value,
                codes=(str(update.error.code),) if update.error is not None else (),
                recipient_fault=recipient_fault,
                window_closed=isinstance(update.error, ReEngagementMessage),
            )
            return Ties(reference=update.tracker or "", message_id=update.id), told
        case FlowCompletion():
            ties = Ties(flow_token=update.token or "", replied_to=_answered(update.reply_to_message))
            return ties, FormAnswered(answers=update.response)
        case CallbackButton() | CallbackSelection():
            tapped = TextReceived(text=update.title, payload=update.data)
            return Ties(replied_to=_answered(update.reply_to_message)), tapped
        case Message(text=str(text)):
            return Ties(replied_to=_answered(update.reply_to_message)), TextReceived(text=text)
        case UserMarketingPreferences():
            return Ties(), OptInReceived(scope="marketing") if update else OptOutReceived(scope="marketing")
        case TemplateStatusUpdate() | TemplateQualityUpdate() | TemplateCategoryUpdate():
            return Ties(), _template(update)
    raise AssertionError(f"pywa read a {type(update).__name__}, for which we have no words")


def _template(update: TemplateStatusUpdate | TemplateQualityUpdate | TemplateCategoryUpdate) -> TemplateChanged:
    event, reason, detail = "", "", ""
    match update:
        case TemplateQualityUpdate():
            event = f"QUALITY_{update.new_quality_score.value}"
        case TemplateCategoryUpdate():
            event = f"CATEGORY_{update.new_category.value}"
        case TemplateStatusUpdate():
            event, reason, detail = update.new_status.value, _reason(update), _detail(update)
    return TemplateChanged(
        template_id=update.template_id,
        name=update.template_name,
        language=update.template_language.value,
        event=event,
        reason=reason,
        detail=detail,
    )


def _reason(update: TemplateStatusUpdate) -> str:
    if update.reason is not None and update.reason is not TemplateRejectionReason.NONE:
        return str(update.reason)
    return (update.other_info.title or "") if update.other_info is not None else ""


def _detail(update: TemplateStatusUpdate) -> str:
    parts: list[str | None] = []
    if update.rejection_info is not None:
        parts += [update.rejection_info.reason, update.rejection_info.recommendation]
    if update.other_info is not None:
        parts.append(update.other_info.description)
    if update.disable_info is not None:
        parts.append(f"disabled on {int(update.disable_info.disable_date.timestamp())}")
    return " ".join(part for part in parts if part)


def _answered(reply: ReplyToMessage | None) -> str:
    return reply.id if reply is not None else ""


def _person(user: BaseUser) -> tuple[Alias, ...]:
    number = (Alias(kind=AliasKind.WA_ID, value=user.wa_id),) if user.wa_id else ()
    scoped = (Alias(kind=AliasKind.BSUID, value=user.bsuid, scope=ACCOUNT),) if user.bsuid else ()
    return (*number, *scoped)


def filled(**changes: object) -> dict[str, object]:
    """The parameters of a FLOW button as pywa writes them; `changes` are laid over."""
    return BUTTON.params(index=0, flow_token=FLOW_TOKEN, flow_action_data=ACTION).to_dict() | changes


async def send(peer: Peer, name: str = "intake_v1", to: str = NUMBER) -> SentTemplate:
    """Let pywa send a template; the button's index is text, see `test_pywa_writes_the_index_…`."""
    return await asyncio.to_thread(
        peer.wa.send_template,
        to=to,
        name=name,
        language=TemplateLanguage.ENGLISH_US,
        params=[filled(index="0")],
        tracker=REFERENCE,
    )


async def agreed(play: MetaPlay, peer: Peer, hook: MetaHook, *, recipient_fault: bool = False) -> BaseUpdate:
    """Both read the delivery, and what pywa read, in our words, is what we read, member by member.

    The delivery is read as Meta writes it today, with user ids; without them we read the same but for the user id.
    """
    named = await with_user_ids(play, hook)
    update = peer.read(named)
    assert update is not None
    [event] = understood(named)
    theirs = as_event(update, event.key, recipient_fault=recipient_fault)
    assert event == theirs, f"ours {event!r}, pywa's {theirs!r}"
    [plain] = understood(hook)
    anonymous = tuple(alias for alias in event.sender if alias.kind is not AliasKind.BSUID)
    assert plain == event.model_copy(update={"sender": anonymous}), f"without user ids {plain!r}, with them {event!r}"
    return update


def understood(hook: MetaHook) -> tuple[ProviderEvent, ...]:
    READER.verify(hook.raw, hook.headers)
    parsed = READER.parse(hook.raw)
    assert parsed.quarantine == ""
    return parsed.events


def the(play: MetaPlay, name: str) -> MetaHook:
    """The one delivery of this short name."""
    [hook] = [hook for hook in play.meta.told if hook.name == name]
    return hook
