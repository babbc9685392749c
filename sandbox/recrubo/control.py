"""The script of a Recrubo: what happens there without a request of the client. Under `/control/recrubo`."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import Field, JsonValue

from sandbox.behind import behind
from sandbox.recrubo import templates
from sandbox.recrubo.api import RecruboApi
from sandbox.recrubo.book import ENDS, Run
from sandbox.recrubo.desk import Desk
from sandbox.values import Frozen, Instant, JsonObject


class TemplateVerdict(Frozen):
    """Another status for a template; any word, since clients must survive unknown ones."""

    status: Annotated[str, Field(min_length=1)]
    reason: str | None = None


class Written(Frozen):
    """A text that a candidate writes now, in the newest thread of the number or in the one named."""

    number: str
    text: Annotated[str, Field(min_length=1)]
    thread: str | None = None


class RunVerdict(Frozen):
    """How a run goes on or ends now. ``state`` is laid over what is there."""

    status: Annotated[str, Field(pattern=r"^(finished|timeout|cancelled|exception)$")]
    state: JsonObject = {}


class RunView(Frozen):
    """A run with the number behind its thread."""

    id: str
    account: str
    thread: str
    number: str
    flow: str
    template: str
    reference: str | None
    status: str
    cost: int
    state: JsonObject
    created_at: Instant


class RunViews(Frozen):
    """Runs in the order of their creation."""

    count: int
    runs: tuple[RunView, ...]


class RecruboControl:
    """Scripted events and a look into the books. An event is answered when its webhooks were answered or failed."""

    def __init__(self, api: RecruboApi) -> None:
        self._api = api

    @staticmethod
    def router() -> APIRouter:
        """The addresses of this part of the control API."""
        router = APIRouter(prefix="/recrubo", tags=["recrubo"])
        router.add_api_route("/templates", RecruboControl.templates, methods=["GET"])
        router.add_api_route("/templates/{template_id}", RecruboControl.judge_template, methods=["POST"])
        router.add_api_route("/inbound", RecruboControl.write, methods=["POST"])
        router.add_api_route("/runs", RecruboControl.runs, methods=["GET"])
        router.add_api_route("/runs/{run_id}", RecruboControl.judge_run, methods=["POST"])
        return router

    async def templates(self: "Here") -> list[JsonValue]:
        """Every template as the API shows it."""
        return [t.resource().object() for desk in self._api.desks.values() for t in desk.book.templates.values()]

    async def judge_template(self: "Here", template_id: str, verdict: TemplateVerdict) -> JsonObject:
        """Give a template another status and send the webhook."""
        for desk in self._api.desks.values():
            template = desk.book.templates.get(template_id)
            if template is not None:
                await desk.world.webhooks.tell(templates.judge(desk, template, verdict.status, verdict.reason))
                return template.resource().object()
        raise HTTPException(404, "no template of this id")

    async def write(self: "Here", written: Written) -> JsonObject:
        """Let a candidate write now."""
        for desk in self._api.desks.values():
            threads = [t for t in desk.book.threads_of(written.number) if written.thread in (None, t.id)]
            if threads:
                await desk.world.webhooks.tell(desk.life.inbound(threads[-1], written.text))
                return threads[-1].resource().object()
        raise HTTPException(404, "no thread with this number")

    async def runs(
        self: "Here",
        number: Annotated[str | None, Query()] = None,
        status: Annotated[str | None, Query()] = None,
        reference: Annotated[str | None, Query()] = None,
    ) -> RunViews:
        """The runs that fit."""
        views = [_view(desk, run) for desk in self._api.desks.values() for run in desk.book.runs.values()]
        found = tuple(
            view
            for view in views
            if number in (None, view.number) and status in (None, view.status) and reference in (None, view.reference)
        )
        return RunViews(count=len(found), runs=found)

    async def judge_run(self: "Here", run_id: str, verdict: RunVerdict) -> RunView:
        """End a run now and send the webhook."""
        for desk in self._api.desks.values():
            run = desk.book.runs.get(run_id)
            if run is not None:
                if run.status in ENDS:
                    raise HTTPException(409, f"the run is {run.status} already")
                await desk.world.webhooks.tell(desk.life.end(run, verdict.status, verdict.state))
                return _view(desk, run)
        raise HTTPException(404, "no run of this id")


Here = Annotated[RecruboControl, Depends(behind(RecruboControl))]
"""This part of the sandbox that is asked."""


def _view(desk: Desk, run: Run) -> RunView:
    return RunView(
        id=run.id,
        account=desk.account.name,
        thread=run.thread.id,
        number=run.thread.identifier,
        flow=run.flow.id,
        template=run.template.id,
        reference=run.reference,
        status=run.status,
        cost=run.cost,
        state=run.state,
        created_at=run.created_at,
    )
