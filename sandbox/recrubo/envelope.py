"""JSON:API documents, and refusals in Recrubo's error envelope."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from pydantic import JsonValue
from starlette.responses import PlainTextResponse, Response

from sandbox.values import JsonObject

MEDIA_TYPE = "application/vnd.api+json"


class JsonApiResponse(Response):
    """A document with Recrubo's media type, without a charset."""

    media_type = MEDIA_TYPE

    def __init__(self, document: JsonObject, status: int = 200) -> None:
        super().__init__(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(), status)


@dataclass(frozen=True)
class Resource:
    """A JSON:API resource object."""

    type: str
    id: str
    attributes: JsonObject

    def object(self) -> JsonObject:
        """As it stands in ``data``."""
        return {"id": self.id, "type": self.type, "attributes": self.attributes}

    def answer(self, status: int = 200) -> JsonApiResponse:
        """As the only content of an answer."""
        return JsonApiResponse({"data": self.object()}, status)


def written(instant: datetime) -> str:
    """An instant as Recrubo writes it: whole seconds, ``+00:00``."""
    return instant.isoformat(timespec="seconds")


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a request."""

    rule: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None

    @property
    def where(self) -> str | None:
        """Where in the request."""
        return self.pointer if self.pointer is not None else self.parameter

    def source(self) -> JsonObject:
        """The ``source`` member of an error object, or nothing."""
        if self.pointer is not None:
            return {"source": {"pointer": self.pointer}}
        if self.parameter is not None:
            return {"source": {"parameter": self.parameter}}
        return {}


class Refused(Exception):
    """The request is not taken; carries every mistake that was found and the answer."""

    WORDS: ClassVar[dict[int, tuple[str, str]]] = {
        400: ("bad_request", "Bad Request"),
        401: ("unauthorized", "Access denied"),
        404: ("not_found", "Not found"),
        405: ("method_not_allowed", "Method not allowed"),
        406: ("not_acceptable", "Not acceptable"),
        409: ("conflict", "Conflict"),
        422: ("unprocessable_entity", "Invalid attribute"),
        429: ("too_many_requests", "Too many requests"),
    }

    def __init__(self, status: int, mistakes: Sequence[Mistake]) -> None:
        super().__init__(status, [mistake.rule for mistake in mistakes])
        self.status = status
        self.mistakes = tuple(mistakes)

    def answer(self) -> Response:
        """The error document. 415 and 401 are answered as the documented samples are."""
        if self.status == 415:
            return PlainTextResponse("Unsupported Media Type", 415)
        code, title = self.WORDS[self.status]
        errors: list[JsonValue] = []
        for mistake in self.mistakes:
            error: JsonObject = {"status": str(self.status), "code": code, "title": title}
            if self.status != 401:
                error["detail"] = mistake.detail
            errors.append({**error, **mistake.source()})
        return JsonApiResponse({"errors": errors}, self.status)


class RelayedMetaError(Refused):
    """The documented oddity of template creation: status is a number, detail is Meta's own error object."""

    def __init__(self, mistake: Mistake, subcode: int | None, title: str) -> None:
        super().__init__(400, [mistake])
        self._subcode, self._title = subcode, title

    def answer(self) -> Response:
        """The error as Recrubo relays it, against JSON:API's own rules."""
        detail: JsonObject = {"message": "Invalid parameter", "type": "OAuthException", "code": 100}
        if self._subcode is not None:
            detail["error_subcode"] = self._subcode
        detail |= {
            "is_transient": False,
            "error_user_title": self._title,
            "error_user_msg": self.mistakes[0].detail,
            "fbtrace_id": "AsandboxTrace",
        }
        error: JsonObject = {"code": "bad_request", "status": 400, "title": "Bad Request", "detail": detail}
        return JsonApiResponse({"errors": [error]}, 400)


def refuse(status: int, rule: str, detail: str, *, pointer: str | None = None, parameter: str | None = None) -> Refused:
    """A refusal with a single mistake."""
    return Refused(status, [Mistake(rule, detail, pointer, parameter)])


def not_found(what: str, pointer: str | None = None) -> Refused:
    """A refusal of an id that names nothing."""
    return refuse(404, f"unknown-{what}", f"no {what} of this id", pointer=pointer)
