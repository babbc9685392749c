"""The doorman of `/truora/v1`: faults, authentication, media types, refusals, and what follows an answer."""

import asyncio
import hmac
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import faults
from sandbox.faults import AFTER, BEFORE, CutConnection, Fault, FaultKind, Occasion
from sandbox.traffic import Call, Refusal
from sandbox.truora import calls, form
from sandbox.truora.desk import Asked, Consequence, Desk, Taken
from sandbox.truora.envelope import Refused, refuse
from sandbox.world import World

BASE_PATH = "/truora/v1"
KEY_HEADER = "Truora-API-Key"

Handler = Callable[[Desk, Asked], Taken]

_OPERATIONS: tuple[tuple[str, str, str, Handler], ...] = (
    ("outbound-list", "GET", "/whatsapp/outbounds", calls.find_outbounds),
    ("outbound-send", "POST", "/whatsapp/outbounds/send", calls.send),
    ("outbound-read", "GET", "/whatsapp/outbounds/{id}", calls.show_outbound),
    ("process-read", "GET", "/processes/{id}/result", calls.show_process),
)


class TruoraApi:
    """The API of all accounts of the sandbox; the key tells which."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.desks: dict[str, Desk] = {}
        self.clear()

    def clear(self) -> None:
        """Give every account an empty desk."""
        self.desks = {account.name: Desk(account, self._world) for account in self._world.settings.accounts.truora}

    def app(self) -> Starlette:
        """The application to mount at ``BASE_PATH``."""
        # Every method comes through, so that a wrong one is refused in Truora's envelope.
        methods = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        routes = [
            Route(path, partial(self._serve, operation, method, handler), methods=methods)
            for operation, method, path, handler in _OPERATIONS
        ]
        routes.append(Route("/{path:path}", partial(self._serve, "unknown", None, _nothing_there), methods=methods))
        return Starlette(routes=routes)

    async def _serve(self, operation: str, method: str | None, handler: Handler, request: Request) -> Response:
        asked = Asked(request, await request.body())
        if method not in (None, request.method):
            operation, handler = "unknown", _wrong_method
        desk = self._desk(request)
        number, session = _whom(desk, asked)
        persona = self._world.personas.at(number).persona if number else None
        account = desk.account.name if desk else None
        occasion = Occasion("truora", operation, account, number, session, persona)
        response, struck = await self._answer(desk, asked, handler, occasion)
        self._world.traffic.called(
            Call(
                provider="truora",
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
            stranger = refuse(401, "authentication", "no or wrong key", KEY_HEADER)
            self._remember(stranger, occasion.operation)
            return stranger.answer(), None
        if slow := world.faults.take(occasion, frozenset({FaultKind.SLOW})):
            await asyncio.sleep(slow.options.seconds)
        if struck := world.faults.take(occasion, BEFORE):
            return self._fault_answer(struck), struck
        try:
            desk.pace()
            _judge_media_type(asked.request)
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
        deliveries = [
            Occasion(
                "truora",
                f"webhook:{name}",
                occasion.account,
                consequence.number,
                consequence.lane,
                occasion.persona,
            )
            for name in consequence.tells
        ]
        if self._world.webhooks.comes_before_answer(deliveries):
            await desk.life.tell_now(consequence.happening())
        else:
            desk.life.later(consequence.delay, consequence.happening, consequence.lane)

    def _desk(self, request: Request) -> Desk | None:
        keys = request.headers.getlist(KEY_HEADER)
        for desk in self.desks.values():
            right = desk.account.api_key.get_secret_value()
            if len(keys) == 1 and hmac.compare_digest(right.encode(), keys[0].encode()):
                return desk
        return None

    def _fault_answer(self, fault: Fault) -> Response:
        throttled = refuse(429, "fault", "Too many requests").answer()
        return faults.answer(fault, self._world.clock, throttled, refuse(401, "fault", "").answer())

    def _remember(self, refused: Refused, operation: str) -> None:
        for mistake in refused.mistakes:
            self._world.traffic.refused(
                Refusal(
                    provider="truora",
                    operation=operation,
                    status=refused.status,
                    rule=mistake.rule,
                    where=mistake.where,
                    detail=mistake.detail,
                    at=self._world.clock.now(),
                )
            )


def _nothing_there(_desk: Desk, _asked: Asked) -> Taken:
    raise refuse(404, "unknown-path", "not found")


def _wrong_method(_desk: Desk, _asked: Asked) -> Taken:
    raise refuse(405, "method", "method not allowed")


def _judge_media_type(request: Request) -> None:
    if request.method != "POST":
        return
    kind, _, parameter = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != form.MEDIA_TYPE or parameter.strip().lower() not in ("", "charset=utf-8"):
        raise refuse(415, "content-type", f"Content-Type must be {form.MEDIA_TYPE}", "Content-Type")


def _whom(desk: Desk | None, asked: Asked) -> tuple[str | None, str | None]:
    """Whom a request is about, so that faults and counts can be about one number. Never refuses anything."""
    if desk is None:
        return None, None
    process = desk.book.processes.get(str(asked.request.path_params.get("id", "")))
    if process is not None:
        return process.number, process.id
    return form.number(dict(parse_qsl(asked.body.decode("utf-8", "replace")))) or None, None
