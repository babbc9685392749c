"""Messages of a thread: send and list."""

from sandbox.recrubo.desk import Asked, Consequence, Desk, Taken, refuse_all
from sandbox.recrubo.envelope import Mistake, not_found, refuse
from sandbox.recrubo.lists import asked_page, listing
from sandbox.recrubo.rules import Filled, filled
from sandbox.recrubo.wire import NewMessage, TemplateMessage, TextMessage, read
from sandbox.values import JsonObject

_FILTERS = frozenset({"messageThreadId", "origin"})
_PAYLOAD = "/data/attributes/payload"


def create(desk: Desk, asked: Asked) -> Taken:
    """POST /messages: accepted, which is not sent. Outside the 24-hour window a text fails later."""
    attributes = asked.read(NewMessage, desk).data.attributes
    text, choice, mistakes = _content(desk, attributes.payload)
    if attributes.messageThreadId not in desk.book.threads:
        raise not_found("thread", "/data/attributes/messageThreadId")
    refuse_all(422, mistakes)
    thread = desk.book.threads[attributes.messageThreadId]
    message = desk.book.add_message(
        thread,
        desk.now(),
        attributes.payload,
        sent_by=attributes.sendBy,
        text=text,
        template=choice.template if choice is not None else None,
    )
    events = desk.hooks.message(message)
    told = Consequence(0, lambda: events, thread.id, ("messages:create:outbound",))
    tells = ("messages:deliveryStatus:sent", "messages:deliveryStatus:failed")
    sent = Consequence(desk.account.start_delay, lambda: desk.life.dispatch(message), thread.id, tells)
    return Taken(message.resource().answer(desk.account.success_status), (told, sent))


def find(desk: Desk, asked: Asked) -> Taken:
    """GET /messages."""
    page = asked_page(asked.request.query_params, _FILTERS, desk.account.page_size)
    return Taken(listing([m.resource() for m in desk.book.messages.values()], page, asked.request.url))


def _content(desk: Desk, payload: JsonObject) -> tuple[str, Filled | None, list[Mistake]]:
    match payload.get("type"):
        case "text":
            return read(TextMessage, payload, strict=desk.account.strict, at=_PAYLOAD).text.value, None, []
        case "template":
            choice = read(TemplateMessage, payload, strict=desk.account.strict, at=_PAYLOAD).template
            found, mistakes = filled(desk.book, choice, f"{_PAYLOAD}/template")
            return found.template.filled(found.values), found, mistakes
        case _:
            raise refuse(422, "payload-type", "text or template", pointer=f"{_PAYLOAD}/type")
