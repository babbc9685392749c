"""Message threads: open, find, read, pause."""

from starlette.responses import Response

from sandbox.recrubo.desk import Asked, Consequence, Desk, Taken, same_id
from sandbox.recrubo.envelope import refuse
from sandbox.recrubo.lists import asked_page, listing
from sandbox.recrubo.wire import ChangedThread, NewThread

_FILTERS = frozenset({"channel", "identifier"})


def create(desk: Desk, asked: Asked) -> Taken:
    """POST /message-threads. A second thread for a number: by setting (A-R2)."""
    attributes = asked.read(NewThread, desk).data.attributes
    existing = desk.book.threads_of(attributes.identifier)
    if existing and desk.account.duplicate_threads == "409":
        raise refuse(
            409, "duplicate-thread", "a thread with this identifier exists", pointer="/data/attributes/identifier"
        )
    if existing and desk.account.duplicate_threads == "existing":
        return Taken(existing[0].resource().answer(200))
    thread = desk.book.open_thread(attributes.identifier, desk.now())
    told = Consequence(0, lambda: desk.hooks.thread(thread), thread.id)
    return Taken(thread.resource().answer(desk.account.success_status), (told,))


def find(desk: Desk, asked: Asked) -> Taken:
    """GET /message-threads."""
    page = asked_page(asked.request.query_params, _FILTERS, desk.account.page_size)
    return Taken(listing([thread.resource() for thread in desk.book.threads.values()], page, asked.request.url))


def show(desk: Desk, asked: Asked) -> Taken:
    """GET /message-threads/{id}."""
    return Taken(desk.thread(asked.id).resource().answer())


def change(desk: Desk, asked: Asked) -> Taken:
    """PATCH /message-threads/{id}: pause the chatbot, or let it go on."""
    thread = desk.thread(asked.id)
    data = asked.read(ChangedThread, desk).data
    same_id(data.id, thread.id)
    was, thread.paused = thread.paused, data.attributes.chatbotPaused
    thread.updated_at = desk.now()
    if was and not thread.paused:
        desk.life.resume(thread)
    told = Consequence(0, lambda: desk.hooks.thread(thread, "chatbotPaused"), thread.id)
    response: Response = thread.resource().answer()
    return Taken(response, (told,))
