"""The doorman of `/recrubo/public/v2`: faults, authentication, media types, refusals, and what follows an answer."""

import asyncio
import hmac
import json
from collections.abc import Callable, Sequence
from functools import partial

from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import faults
from sandbox.faults import AFTER, BEFORE, CutConnection, Fault, FaultKind, Occasion
from sandbox.recrubo import messages, runs, setup, templates, threads
from sandbox.recrubo.book import Thread
from sandbox.recrubo.desk import Asked, Consequence, Desk, Taken
from sandbox.recrubo.envelope import MEDIA_TYPE, Refused, refuse
from sandbox.traffic import Call, Refusal
from sandbox.world import World

BASE_PATH = "/recrubo/public/v2"

Handler = Callable[[Desk, Asked], Taken]

_OPERATIONS: tuple[tuple[str, str, str, Handler], ...] = (
    ("thread-create", "POST", "/message-threads", threads.create),
    ("thread-list", "GET", "/message-threads", threads.find),
    ("thread-read", "GET", "/message-threads/{id}", threads.show),
    ("thread-change", "PATCH", "/message-threads/{id}", threads.change),
    ("run-create", "POST", "/flow-runs", runs.create),
    ("run-list", "GET", "/flow-runs", runs.find),
    ("run-read", "GET", "/flow-runs/{id}", runs.show),
    ("run-change", "PATCH", "/flow-runs/{id}", runs.change),
    ("template-create", "POST", "/message-templates", templates.create),
    ("template-list", "GET", "/message-templates", templates.find),
    ("template-read", "GET", "/message-templates/{id}", templates.show),
    ("template-delete", "DELETE", "/message-templates/{id}", templates.delete),
    ("message-create", "POST", "/messages", messages.create),
    ("message-list", "GET", "/messages", messages.find),
    ("organization-change", "PATCH", "/organizations", setup.change_organization),
    ("webhook-create", "POST", "/webhooks", setup.subscribe),
)


class RecruboApi:
    """The API of all organisations of the sandbox; the token tells which."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.desks: dict[str, Desk] = {}
        self.clear()

    def clear(self) -> None:
        """Give every organisation an empty desk."""
        accounts = self._world.settings.accounts.recrubo
        self.desks = {account.name: Desk(account, self._world) for account in accounts}

    def app(self) -> Starlette:
        """The application to mount at ``BASE_PATH``."""
        ways: dict[str, dict[str, tuple[str, Handler]]] = {}
        for operation, method, path, handler in _OPERATIONS:
            ways.setdefault(path, {})[method] = (operation, handler)
        # Addresses without {id} first; every method comes through, so that a wrong one is refused in JSON:API.
        methods = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        routes = [Route(path, partial(self._serve, by_method), methods=methods) for path, by_method in ways.items()]
        routes.append(Route("/{path:path}", partial(self._serve, {}), methods=methods))
        return Starlette(routes=routes)

    async def _serve(self, by_method: dict[str, tuple[str, Handler]], request: Request) -> Response:
        body = await request.body()
        operation, handler = by_method.get(request.method, ("unknown", _nothing_there(by_method)))
        desk = self._desk(request)
        asked = Asked(request, body)
        thread, number = _whom(desk, asked)
        persona = self._world.personas.at(number).persona if number else None
        account = desk.account.name if desk else None
        occasion = Occasion("recrubo", operation, account, number, thread.id if thread else None, persona)
        response, struck = await self._answer(desk, asked, handler, occasion)
        self._world.traffic.called(
            Call(
                provider="recrubo",
                operation=operation,
                account=account,
                method=request.method,
                path=request.url.path,
                number=number,
                status=None if isinstance(response, CutConnection) else response.status_code,
                fault=struck.kind if struck else None,
                at=self._world.clock.now(),
            )
        )
        return response

    async def _answer(
        self, desk: Desk | None, asked: Asked, handler: Handler, occasion: Occasion
    ) -> tuple[Response, Fault | None]:
        world = self._world
        if desk is None:  # a stranger: no fault is spent on them
            stranger = refuse(401, "authentication", "no or wrong bearer token")
            self._remember(stranger, occasion.operation)
            return stranger.answer(), None
        if slow := world.faults.take(occasion, frozenset({FaultKind.SLOW})):
            await asyncio.sleep(slow.options.seconds)
        if struck := world.faults.take(occasion, BEFORE):
            return self._fault_answer(struck), struck
        try:
            _judge_media_types(asked.request)
            taken = handler(desk, asked)
        except Refused as refused:
            self._remember(refused, occasion.operation)
            return refused.answer(), slow
        for consequence in taken.then:
            await self._follow(desk, consequence, occasion)
        if struck := world.faults.take(occasion, AFTER):
            return self._fault_answer(struck), struck
        return taken.response, slow

    async def _follow(self, desk: Desk, consequence: Consequence, occasion: Occasion) -> None:
        thread = desk.book.threads.get(consequence.lane)
        deliveries = [
            Occasion(
                "recrubo",
                f"webhook:{name}",
                occasion.account,
                thread.identifier if thread else None,
                consequence.lane,
                occasion.persona,
            )
            for name in consequence.tells
        ]
        if self._world.webhooks.comes_before_answer(deliveries):
            await desk.life.now(consequence.happening)
        else:
            desk.life.later(consequence.delay, consequence.happening, consequence.lane)

    def _desk(self, request: Request) -> Desk | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        for desk in self.desks.values():
            right = desk.account.token.get_secret_value()
            if hmac.compare_digest(right.encode(), token.encode()):
                return desk
        return None

    def _fault_answer(self, fault: Fault) -> Response:
        throttled = refuse(429, "throttled", "too many requests").answer()
        return faults.answer(fault, self._world.clock, throttled, refuse(401, "fault", "").answer())

    def _remember(self, refused: Refused, operation: str) -> None:
        for mistake in refused.mistakes:
            self._world.traffic.refused(
                Refusal(
                    provider="recrubo",
                    operation=operation,
                    status=refused.status,
                    rule=mistake.rule,
                    where=mistake.where,
                    detail=mistake.detail,
                    at=self._world.clock.now(),
                )
            )


def _nothing_there(by_method: dict[str, tuple[str, Handler]]) -> Handler:
    def handler(desk: Desk, asked: Asked) -> Taken:
        if by_method:
            raise refuse(405, "method", f"this address takes {', '.join(sorted(by_method))}")
        raise refuse(404, "unknown-path", "no such address")

    return handler


def _judge_media_types(request: Request) -> None:
    accepted = [part.split(";")[0].strip() for part in request.headers.get("accept", "*/*").split(",")]
    if not {MEDIA_TYPE, "application/*", "*/*"} & set(accepted):
        raise refuse(406, "accept", f"Accept must admit {MEDIA_TYPE}")
    if request.method in ("POST", "PATCH") and request.headers.get("content-type", "").strip() != MEDIA_TYPE:
        raise refuse(415, "content-type", f"Content-Type must be {MEDIA_TYPE} without parameters")


def _whom(desk: Desk | None, asked: Asked) -> tuple[Thread | None, str | None]:
    """Whom a request is about, so that faults and counts can be about one number. Never refuses anything."""
    if desk is None:
        return None, None
    number, named = None, [str(asked.request.path_params.get("id", ""))]
    for name, value in (*asked.request.query_params.multi_items(), *_attributes(asked.body)):
        if name in ("identifier", "filter[identifier]"):
            number = value
        elif name in ("messageThreadId", "filter[messageThreadId]"):
            named.append(value)
    runs_named = [desk.book.runs[run_id].thread for run_id in named if run_id in desk.book.runs]
    threads_named = [desk.book.threads[thread_id] for thread_id in named if thread_id in desk.book.threads]
    found: Sequence[Thread] = [*runs_named, *threads_named, *(desk.book.threads_of(number) if number else ())]
    thread = found[0] if found else None
    return thread, thread.identifier if thread else number


def _attributes(body: bytes) -> list[tuple[str, str]]:
    try:
        document: JsonValue = json.loads(body) if body else None
    except ValueError:
        return []
    data = document.get("data") if isinstance(document, dict) else None
    attributes = data.get("attributes") if isinstance(data, dict) else None
    if not isinstance(attributes, dict):
        return []
    return [(name, value) for name, value in attributes.items() if isinstance(value, str)]
