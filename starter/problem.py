"""Errors of the REST interface as RFC 9457 problem details: one shape for every refusal."""

import http
from collections.abc import Mapping, Sequence

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from domain.errors import (
    BadInput,
    Conflict,
    EngineUnavailable,
    Erased,
    Mistake,
    NotAllowed,
    NotEntitled,
    NotFound,
    PayloadTooLarge,
    RapportError,
    StoreUnavailable,
)
from domain.model import Model
from starter.mistakes import mistakes_in_request

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER = "5"


class ProblemMistake(Model):
    """One thing wrong in the request: where, and what."""

    field: str
    message: str


class Problem(Model):
    """What a refusal looks like. ``type`` is stable and made for programs, the rest for people."""

    type: str
    title: str
    status: int
    detail: str
    mistakes: tuple[ProblemMistake, ...] | None = None
    fields: tuple[str, ...] | None = None
    """In a conflict: the fields that differ from what was asked for before."""


_KINDS: Mapping[type[RapportError], tuple[int, str, str]] = {
    BadInput: (422, "bad-input", "The request has mistakes"),
    Conflict: (409, "conflict", "The reference or key is taken by other input"),
    NotFound: (404, "not-found", "There is no such thing"),
    NotAllowed: (409, "not-allowed", "The engagement does not allow this now"),
    NotEntitled: (403, "not-entitled", "The token does not allow this"),
    Erased: (410, "erased", "The person was erased"),
    PayloadTooLarge: (413, "too-large", "More than Temporal takes"),
    EngineUnavailable: (503, "unavailable", "Temporal did not answer"),
    StoreUnavailable: (503, "unavailable", "The store did not answer"),
}


class Unauthenticated(Exception):
    """No token, or one that we do not know. ``wait`` are seconds to wait when there were too many failures, else 0."""

    def __init__(self, wait: int = 0) -> None:
        self.wait = wait
        super().__init__("not authenticated")


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an HTTP answer."""
    body = problem.model_dump_json(exclude_none=True)
    return Response(body, status_code=problem.status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def problem_of(error: RapportError) -> Problem:
    """The problem that tells an error of ours; what is not the caller's business becomes a plain 500."""
    found = next((_KINDS[kind] for kind in type(error).__mro__ if kind in _KINDS), None)
    if found is None:
        return _defect()
    status, kind, title = found
    mistakes = _told(error.mistakes) if isinstance(error, BadInput) else None
    fields = error.fields if isinstance(error, Conflict) else None
    detail = f"{len(mistakes)} mistakes; nothing was started" if mistakes is not None else str(error)
    return Problem(type=_type(kind), title=title, status=status, detail=detail, mistakes=mistakes, fields=fields)


def install(app: FastAPI) -> None:
    """Make every refusal of this app a problem: ours, FastAPI's, Starlette's, and defects."""
    app.add_exception_handler(RapportError, _on_rapport_error)
    app.add_exception_handler(Unauthenticated, _on_unauthenticated)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_defect)


async def _on_rapport_error(request: Request, error: Exception) -> Response:
    problem = problem_of(error) if isinstance(error, RapportError) else _defect()
    if problem.status == 500:
        log.error("request_failed", route=_route(request), error_type=type(error).__name__)
    return answer(problem, {"Retry-After": _RETRY_AFTER} if problem.status == 503 else None)


async def _on_unauthenticated(request: Request, error: Exception) -> Response:
    return unauthenticated(error.wait if isinstance(error, Unauthenticated) else 0)


def unauthenticated(wait: int) -> Response:
    """What is answered without a valid token; ``wait`` are seconds to wait after too many failures."""
    if wait:
        problem = Problem(
            type=_type("too-many-failures"),
            title="Too many failed attempts",
            status=429,
            detail=f"try again in {wait} seconds with a valid token",
        )
        return answer(problem, {"Retry-After": str(wait)})
    problem = Problem(
        type=_type("unauthenticated"),
        title="A valid bearer token is needed",
        status=401,
        detail="send Authorization: Bearer <token> with a token that the configuration names",
    )
    return answer(problem, {"WWW-Authenticate": "Bearer"})


async def _on_validation(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return answer(problem_of(BadInput(mistakes_in_request(found, _body_model(request)))))


async def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return answer(_defect())
    title = http.HTTPStatus(error.status_code).phrase
    problem = Problem(type="about:blank", title=title, status=error.status_code, detail=title)
    return answer(problem, error.headers)


async def _on_defect(request: Request, error: Exception) -> Response:
    return answer(_defect())  # Starlette raises it again after the answer, so that the server logs it


def _defect() -> Problem:
    return Problem(
        type=_type("defect"),
        title="We failed",
        status=500,
        detail="a defect or a wrong set-up on our side; the log tells more",
    )


def _told(mistakes: Sequence[Mistake]) -> tuple[ProblemMistake, ...]:
    return tuple(ProblemMistake(field=m.field, message=m.message) for m in mistakes)


def _type(kind: str) -> str:
    return f"urn:rapport:problem:{kind}"


def _body_model(request: Request) -> type[BaseModel] | None:
    route = request.scope.get("route")
    field = route.body_field if isinstance(route, APIRoute) else None
    model = field.field_info.annotation if field is not None else None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _route(request: Request) -> str:
    return str(getattr(request.scope.get("route"), "path", ""))
