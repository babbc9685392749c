"""Answers in JSON, and refusals in Truora's error envelope."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from starlette.responses import Response


class JsonAnswer(Response):
    """Compact JSON with UTF-8 texts."""

    media_type = "application/json"

    def __init__(self, document: JsonValue, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        super().__init__(body, status, dict(headers or {}))


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a request. ``detail`` never quotes a value."""

    rule: str
    detail: str
    where: str | None = None
    """The form field, query parameter or header."""


class Refused(Exception):
    """The request is not taken; carries every mistake that was found and the answer."""

    def __init__(self, status: int, mistakes: Sequence[Mistake], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, [mistake.rule for mistake in mistakes])
        self.status = status
        self.mistakes = tuple(mistakes)
        self._headers = dict(headers or {})

    def answer(self) -> Response:
        """The error document. 401 lacks ``http_code`` and 415 has no body, as in the samples."""
        code = 10000 + self.status
        if self.status == 415:
            return Response(status_code=415)
        if self.status == 401:
            return JsonAnswer({"code": code, "message": "Unauthorized"}, 401)
        message = "; ".join(mistake.detail for mistake in self.mistakes)
        return JsonAnswer({"code": code, "http_code": self.status, "message": message}, self.status, self._headers)


def refuse(
    status: int, rule: str, detail: str, where: str | None = None, headers: Mapping[str, str] | None = None
) -> Refused:
    """A refusal with a single mistake."""
    return Refused(status, [Mistake(rule, detail, where)], headers)


def refuse_all(status: int, mistakes: Sequence[Mistake]) -> None:
    """Refuse when there is any mistake."""
    if mistakes:
        raise Refused(status, mistakes)
