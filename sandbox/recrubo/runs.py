"""Flow runs: trigger, find, read, end or erase."""

from datetime import timedelta

from pydantic import JsonValue

from sandbox.recrubo.book import ENDS, Run
from sandbox.recrubo.desk import Asked, Consequence, Desk, Taken, refuse_all, same_id
from sandbox.recrubo.envelope import JsonApiResponse, Mistake, not_found, refuse
from sandbox.recrubo.lists import asked_page, listing
from sandbox.recrubo.rules import filled
from sandbox.recrubo.wire import ChangedRun, NewRun, RunChange, TemplateMessage, read
from sandbox.values import JsonObject

_FILTERS = frozenset({"messageThreadId", "flowId", "status"})
_INITIAL = "/data/attributes/initialMessage"


def create(desk: Desk, asked: Asked) -> Taken:
    """POST /flow-runs: taken at once, started in the background."""
    attributes = asked.read(NewRun, desk).data.attributes
    if attributes.initialMessage.get("type") != "template":
        # {} stands for "with the candidate's next message", which WhatsApp does not allow.
        detail = "initialMessage must be a template on channel whatsapp"
        raise refuse(422, "template-required", detail, pointer=_INITIAL)
    message = read(TemplateMessage, attributes.initialMessage, strict=desk.account.strict, at=_INITIAL)
    if attributes.flowId not in desk.book.flows:
        raise not_found("flow", "/data/attributes/flowId")
    if attributes.messageThreadId not in desk.book.threads:
        raise not_found("thread", "/data/attributes/messageThreadId")
    thread = desk.book.threads[attributes.messageThreadId]
    choice, mistakes = filled(desk.book, message.template, f"{_INITIAL}/template")
    if thread.paused:
        mistakes.append(Mistake("thread-paused", "the chatbot is paused", "/data/attributes/messageThreadId"))
    refuse_all(422, mistakes)
    now = desk.now()
    run = desk.book.add_run(
        Run(
            id=desk.book.mint("run", thread.id, len(thread.runs)),
            thread=thread,
            flow=desk.book.flows[attributes.flowId],
            template=choice.template,
            values=choice.values,
            state=attributes.state,
            initial_message=attributes.initialMessage,
            status=desk.account.first_status,
            created_at=now,
            updated_at=now,
            visible_at=now + timedelta(seconds=desk.account.list_delay),
        )
    )
    created = Consequence(0, lambda: desk.hooks.run(run), thread.id)
    tells = ("messages:create:outbound", "flowRuns:running", "flowRuns:exception")
    start = Consequence(desk.account.start_delay, lambda: desk.life.begin(run), thread.id, tells)
    return Taken(_created(desk, run), (created, start))


def find(desk: Desk, asked: Asked) -> Taken:
    """GET /flow-runs. A run shows some time after it was created, by setting (A-R11)."""
    page = asked_page(asked.request.query_params, _FILTERS, desk.account.page_size)
    thread = desk.book.threads.get(page.filters.get("messageThreadId", ""))
    runs = thread.runs if thread is not None else list(desk.book.runs.values())
    visible = [run.resource() for run in runs if run.visible_at <= desk.now()]
    return Taken(listing(visible, page, asked.request.url))


def show(desk: Desk, asked: Asked) -> Taken:
    """GET /flow-runs/{id}."""
    return Taken(desk.run(asked.id).resource().answer())


def change(desk: Desk, asked: Asked) -> Taken:
    """PATCH /flow-runs/{id}: end a run that lives, replace the state of one that does not run."""
    run = desk.run(asked.id)
    data = asked.read(ChangedRun, desk).data
    same_id(data.id, run.id)
    wanted = data.attributes
    refuse_all(422, _forbidden(run, wanted))
    then = []
    if wanted.state is not None:
        run.state, run.updated_at = wanted.state, desk.now()
        events = desk.hooks.run(run, "state")
        then.append(Consequence(0, lambda: events, run.thread.id))
    if wanted.status is not None:
        ended = desk.life.end(run, wanted.status)
        then.append(Consequence(0, lambda: ended, run.thread.id))
    return Taken(run.resource().answer(), then)


def _forbidden(run: Run, wanted: RunChange) -> list[Mistake]:
    mistakes = []
    if not wanted.model_fields_set:
        mistakes.append(Mistake("missing-attribute", "status or state is required", "/data/attributes"))
    mistakes += [
        Mistake("invalid-attribute", "must not be null", f"/data/attributes/{name}")
        for name in sorted(wanted.model_fields_set)
        if (wanted.status if name == "status" else wanted.state) is None
    ]
    if wanted.status is not None and run.status in ENDS:
        mistakes.append(Mistake("run-ended", f"the run is {run.status}", "/data/attributes/status"))
    if wanted.state is not None and run.status == "running":
        mistakes.append(Mistake("run-running", "state is closed while the run is running", "/data/attributes/state"))
    return mistakes


def _created(desk: Desk, run: Run) -> JsonApiResponse:
    resource = run.resource()
    if desk.account.answers_other_ids:
        # The guide's sample answers with other ids than were sent: a client must not compare them.
        resource.attributes["flowId"] = desk.book.mint("other-flow", run.id)
        resource.attributes["initialMessage"] = _other_template(run.initial_message, desk.book.mint("other", run.id))
    return resource.answer(desk.account.success_status)


def _other_template(message: JsonObject, other_id: str) -> JsonValue:
    template = message["template"]
    return {**message, "template": {**template, "id": other_id} if isinstance(template, dict) else template}
