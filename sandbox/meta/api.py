"""The doorman of `/meta/{version}`: faults, authentication, refusals, and what follows an answer."""

import asyncio
import hmac
import json
import re
from collections.abc import Callable

from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import faults
from sandbox.faults import AFTER, BEFORE, CutConnection, Fault, FaultKind, Occasion
from sandbox.meta import sending, templates
from sandbox.meta.desk import Asked, Consequence, Desk, Taken
from sandbox.meta.errors import PARAMETER, Refused, refuse, unknown_object
from sandbox.traffic import Call, Refusal
from sandbox.world import World

BASE_PATH = "/meta"

Handler = Callable[[Desk, Asked], Taken]

_VERSION = re.compile(r"v\d{1,3}\.\d{1,2}")
_OPERATIONS: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", "messages"): ("message-send", sending.send),
    ("POST", "message_templates"): ("template-create", templates.create),
    ("GET", "message_templates"): ("template-list", templates.find),
    ("DELETE", "message_templates"): ("template-delete", templates.delete),
    ("GET", ""): ("template-read", templates.show),
    ("POST", ""): ("template-edit", templates.edit),
}
_EDGES = frozenset(edge for _, edge in _OPERATIONS)


class MetaApi:
    """The API of all accounts of the sandbox; the token tells which."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.desks: dict[str, Desk] = {}
        self.clear()

    def clear(self) -> None:
        """Give every account an empty desk."""
        self.desks = {account.name: Desk(account, self._world) for account in self._world.settings.accounts.meta}

    def app(self) -> Starlette:
        """The application to mount at ``BASE_PATH``."""
        # Every method and address comes through, so that a wrong one is refused in Graph's own words.
        methods = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self._serve, methods=methods)])

    async def _serve(self, request: Request) -> Response:
        body = await request.body()
        version, object_id, edge = _address(str(request.path_params["path"]))
        operation, handler = _OPERATIONS.get((request.method, edge), ("unknown", _nothing_there(edge)))
        if not version:
            operation, handler = "unknown", _nothing_there("?")
        desk = self._desk(request)
        asked = Asked(request, body, object_id)
        number = _dialled(body) if operation == "message-send" else None
        occasion = Occasion(
            "meta",
            operation,
            desk.account.name if desk else None,
            number,
            _lane(desk, object_id, number),
            self._world.personas.at(number).persona if number else None,
        )
        response, struck = await self._answer(desk, asked, handler, occasion)
        self._world.traffic.called(
            Call(
                provider="meta",
                operation=operation,
                account=occasion.account,
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
            stranger = refuse(190, "authentication", "no or wrong access token", "authorization")
            self._remember(stranger, occasion.operation, 400)
            return stranger.answer(), None
        throttled = desk.account.throttle_status
        if slow := world.faults.take(occasion, frozenset({FaultKind.SLOW})):
            await asyncio.sleep(slow.options.seconds)
        if struck := world.faults.take(occasion, BEFORE):
            return self._fault_answer(struck, throttled), struck
        try:
            _judge(desk, asked, occasion.operation)
            taken = handler(desk, asked)
        except Refused as refused:
            self._remember(refused, occasion.operation, throttled)
            return refused.answer(throttled), slow
        for consequence in taken.then:
            await self._follow(desk, consequence, occasion)
        if struck := world.faults.take(occasion, AFTER):
            return self._fault_answer(struck, throttled), struck
        return taken.response, slow

    async def _follow(self, desk: Desk, consequence: Consequence, occasion: Occasion) -> None:
        conversation = consequence.conversation
        number = conversation.number if conversation is not None else None
        deliveries = [
            Occasion("meta", f"webhook:{name}", occasion.account, number, consequence.lane, occasion.persona)
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

    def _fault_answer(self, fault: Fault, throttled: int) -> Response:
        detail = "Message failed to send because there were too many messages sent from this phone number"
        too_many = refuse(130429, "throttled", detail).answer(throttled)
        return faults.answer(fault, self._world.clock, too_many, refuse(190, "fault", "").answer())

    def _remember(self, refused: Refused, operation: str, throttled: int) -> None:
        for mistake in refused.mistakes:
            self._world.traffic.refused(
                Refusal(
                    provider="meta",
                    operation=operation,
                    status=refused.status(throttled),
                    rule=mistake.rule,
                    where=mistake.where,
                    detail=f"{mistake.code}: {mistake.detail}",
                    at=self._world.clock.now(),
                )
            )


def _address(path: str) -> tuple[str, str, str]:
    """Version, object id and edge of a path; no version when it is none of the pages'."""
    version, _, rest = path.partition("/")
    object_id, _, edge = rest.partition("/")
    if not _VERSION.fullmatch(version) or not object_id or edge not in _EDGES or path.endswith("/"):
        return "", "", "?"
    return version, object_id, edge


def _nothing_there(edge: str) -> Handler:
    def handler(_desk: Desk, _asked: Asked) -> Taken:
        if edge in _EDGES:
            raise refuse(PARAMETER, "method", "Unsupported request for this address", "method")
        raise refuse(2500, "unknown-path", "no such version or address", "path")

    return handler


def _judge(desk: Desk, asked: Asked, operation: str) -> None:
    """The account must own the object, and a body must be called JSON."""
    if operation in ("template-create", "template-list", "template-delete") and asked.object_id != desk.account.waba_id:
        raise unknown_object()
    if operation != "template-list":
        media_type = asked.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if asked.request.method == "POST" and media_type != "application/json":
            raise refuse(PARAMETER, "content-type", "Content-Type must be application/json", "content-type")


def _dialled(body: bytes) -> str | None:
    """Whom a message is for, so that faults and counts can be about one number. Never refuses anything."""
    try:
        document: JsonValue = json.loads(body)
    except ValueError:
        return None
    number = document.get("to") if isinstance(document, dict) else None
    return number if isinstance(number, str) else None


def _lane(desk: Desk | None, object_id: str, number: str | None) -> str | None:
    if desk is None or number is None:
        return None
    return f"{object_id}:{desk.book.wa_ids.get(number, number)}"
