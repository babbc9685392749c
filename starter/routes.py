"""The REST interface: the service's functions over HTTP, with bearer tokens, idempotency keys and problem details."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Path, Query, Request, params
from fastapi.responses import Response

from domain.calls import Command, CommandResult, MarkAnswered, MigratePlan, NewPlan, ResolveSend
from domain.contacts import Candidate
from domain.engagements import EngagementRequest, Timing
from domain.migration import MigrationView
from domain.model import JsonValue, Reference, Slug, Written
from domain.plans import Plan
from domain.topology import Role
from starter import problem
from starter.ats_routes import AtsTold, add_ats_status, add_requisitions
from starter.audit import AuditedActions, about
from starter.doors import Needs, add_doors
from starter.erasure_routes import Erasing, add_erasure
from starter.export_routes import Exporting, add_export
from starter.healing import keep_starting_missing
from starter.interface import PAGE_LIMIT, Engagements
from starter.problem import Problem
from starter.tokens import AccessTokens, Caller, FailureLimit
from starter.views import EngagementPage, EngagementView, Started, Trace
from store.idempotency import IdempotencyKeys, Remembered

_EXAMPLE: dict[str, JsonValue] = {
    "reference": "application-4711",
    "line": "recruiting",
    "job": "job-88",
    "candidate": {
        "phone": "+31612345678",
        "zone": "Europe/Amsterdam",
        "variables": {"first_name": "Ada"},
        "consent": {"source": "application form", "obtained_at": "2026-03-01T09:00:00Z"},
    },
    "plan": {
        "name": "warehouse-intake",
        "opening": {
            "template": {"name": "intake_v1", "language": "en", "id": "tpl-1", "variables": ["first_name"]},
            "flow": {"id": "flow-1"},
        },
        "silence": {"after": "2d", "then": "hand-over"},
    },
}
_PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "content": {problem.MEDIA_TYPE: {}}, "description": text}
    for status, text in (
        (401, "no valid token"),
        (403, "the token lacks the role"),
        (404, "no such engagement of this tenant"),
        (413, "the body is larger than 2 MiB"),
        (422, "mistakes in the request, all of them"),
        (429, "too many failed authentications"),
        (503, "Temporal or the store did not answer; try again"),
    )
}
_CONFLICT: dict[int | str, dict[str, object]] = {
    409: {"model": Problem, "content": {problem.MEDIA_TYPE: {}}, "description": "does not fit what is there already"}
}

Ref = Annotated[Reference, Path(description="your own key of the engagement")]
Clock = Callable[[], datetime]


class EngagementPost(Written):
    """What to start. The tenant is the token's."""

    model_config = {"json_schema_extra": {"examples": [_EXAMPLE]}}

    reference: Reference
    line: Slug
    candidate: Candidate
    plan: Plan
    job: str = ""
    timing: Timing = Timing()


class MigratePlanPost(MigratePlan):
    """A later version of the plan. With ``dry_run`` nothing is done, and what it would mean is told."""

    dry_run: bool = False


def create_rest_app(
    service: Engagements,
    tokens: AccessTokens,
    answers: IdempotencyKeys,
    *,
    told: AtsTold | None = None,
    erasing: Erasing | None = None,
    exporting: Exporting | None = None,
    failures: FailureLimit | None = None,
    clock: Clock = lambda: datetime.now(UTC),
) -> FastAPI:
    """The REST application. ``answers`` keeps what requests with an ``Idempotency-Key`` were answered.

    ``told`` keeps what tenants' systems tell of whole jobs, for a gateway to carry out; without it there is no such
    route. ``erasing`` erases people, ``exporting`` exports engagements; without them there are no such routes either.
    """
    app = FastAPI(
        title="Rapport",
        summary="Carries candidate engagements over WhatsApp to their end",
        version="1",
        responses=_PROBLEMS,
        docs_url="/v1/docs",
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=_healing(service, clock),
    )
    problem.install(app)
    add_doors(app, tokens, failures or FailureLimit())
    app.add_middleware(AuditedActions)  # the last that is added is the first that is asked
    _add_start(app, service, answers, clock)
    _add_reads(app, service)
    _add_commands(app, service)
    operator: params.Depends = Depends(Needs(Role.OPERATE))
    add_ats_status(app, service, operator)
    if erasing is not None:
        add_erasure(app, erasing, Depends(Needs(Role.ERASE)))
    if exporting is not None:
        add_export(app, exporting, Depends(Needs(Role.READ)))
    if told is not None:
        add_requisitions(app, told, operator, clock)
    return app


def _healing(service: Engagements, clock: Clock) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """While the app serves, starts that were broken off are finished."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        healing = asyncio.create_task(keep_starting_missing(service, clock), name="start-missing")
        try:
            yield
        finally:
            healing.cancel()
            await asyncio.gather(healing, return_exceptions=True)

    return lifespan


def _add_start(app: FastAPI, service: Engagements, answers: IdempotencyKeys, clock: Clock) -> None:
    @app.post(
        "/v1/engagements",
        status_code=202,
        response_model=Started,
        responses={200: {"model": Started, "description": "it was there already"}, **_CONFLICT},
        summary="Start an engagement, once",
    )
    async def start(
        post: EngagementPost,
        http: Request,
        caller: Annotated[Caller, Depends(Needs(Role.OPERATE))],
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
    ) -> Response:
        """Repeating is safe: the same reference with the same input finds the engagement that is there.

        With an `Idempotency-Key` the first answer is given again as it was.
        """
        about(http.scope, post.reference)
        asked = service.fingerprint(json.dumps(post.model_dump(mode="json"), sort_keys=True))
        if idempotency_key is not None:
            given = await answers.recall(caller.tenant, idempotency_key, asked)
            if given is not None:
                return _as_given(given)
        request = EngagementRequest(
            tenant=caller.tenant,
            reference=post.reference,
            line=post.line,
            candidate=post.candidate,
            plan=post.plan,
            job=post.job,
            timing=post.timing,
        )
        now = clock()
        started = await service.start(request, now)
        answer = Remembered(
            fingerprint=asked,
            status=202 if started.created else 200,
            response=started.model_dump_json(),
            created_at=now,
        )
        if idempotency_key is not None:
            answer = await answers.remember(caller.tenant, idempotency_key, answer)
        return _as_given(answer)


def _add_reads(app: FastAPI, service: Engagements) -> None:
    reader = Annotated[Caller, Depends(Needs(Role.READ))]

    @app.get("/v1/engagements", summary="List engagements, newest first")
    async def engagements(
        caller: reader,
        is_open: Annotated[bool | None, Query(alias="open", description="only open, or only ended ones")] = None,
        line: Annotated[str, Query(max_length=40)] = "",
        cursor: Annotated[str, Query(max_length=64, description="`next_cursor` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = 50,
    ) -> EngagementPage:
        return await service.list(caller.tenant, is_open=is_open, line=line, cursor=cursor, limit=limit)

    @app.get("/v1/engagements/{reference}", summary="One engagement: where it stands and what it waits for")
    async def engagement(reference: Ref, caller: reader) -> EngagementView:
        return await service.get(caller.tenant, reference)

    @app.get("/v1/engagements/{reference}/trace", summary="Everything that happened, and why")
    async def trace(reference: Ref, caller: reader) -> Trace:
        return await service.trace(caller.tenant, reference)


def _add_commands(app: FastAPI, service: Engagements) -> None:
    operator = Annotated[Caller, Depends(Needs(Role.OPERATE))]
    carry_out: dict[str, tuple[Callable[[str, str, Command], Awaitable[CommandResult]], str]] = {
        "stop": (service.stop, "End as STOPPED"),
        "hand-over": (service.hand_over, "End as HANDED_OVER: a person goes on"),
        "pause": (service.pause, "Let nothing leave until it is resumed; answers and opt-outs are heard"),
        "resume": (service.resume, "Go on after a pause; deadlines have moved by its length"),
        "resend": (service.resend, "Send a step of unknown outcome once more; you answer for a second message"),
    }

    def add(word: str, act: Callable[[str, str, Command], Awaitable[CommandResult]], summary: str) -> None:
        @app.post(
            f"/v1/engagements/{{reference}}/{word}",
            summary=summary,
            responses=_CONFLICT,
            operation_id=word,
            response_model=CommandResult,
        )
        async def command(reference: Ref, body: Command, caller: operator) -> CommandResult:
            return await act(caller.tenant, reference, body)

    for word, (act, summary) in carry_out.items():
        add(word, act, summary)

    @app.post(
        "/v1/engagements/{reference}/mark-answered",
        summary="End as COMPLETED: the candidate answered by another way",
        responses=_CONFLICT,
    )
    async def mark_answered(reference: Ref, body: MarkAnswered, caller: operator) -> CommandResult:
        return await service.mark_answered(caller.tenant, reference, body)

    @app.post(
        "/v1/engagements/{reference}/migrate-plan",
        summary="Go on by a later version of the plan, where what has happened allows it; `dry_run` only tells",
        responses=_CONFLICT,
    )
    async def migrate_plan(reference: Ref, body: MigratePlanPost, caller: operator) -> CommandResult | MigrationView:
        if body.dry_run:
            new = NewPlan(plan=body.plan, from_version=body.from_version)
            return await service.may_migrate(caller.tenant, reference, new)
        command = MigratePlan.model_validate(body.model_dump(exclude={"dry_run"}))
        return await service.migrate_plan(caller.tenant, reference, command)

    @app.post(
        "/v1/engagements/{reference}/resolve-send", summary="Settle a send of unknown outcome", responses=_CONFLICT
    )
    async def resolve_send(reference: Ref, body: ResolveSend, caller: operator) -> CommandResult:
        return await service.resolve_send(caller.tenant, reference, body)


def _as_given(answer: Remembered) -> Response:
    return Response(answer.response, status_code=answer.status, media_type="application/json")
