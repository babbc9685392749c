"""Refusals in Graph's error envelope. Meta: Error codes; the first mistake is told, all of them are remembered."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from sandbox.meta.graph_json import written
from sandbox.values import JsonObject

MISSING, INVALID, PARAMETER = 131008, 131009, 100
EXISTS = 2388024
"""Subcode of 100: the name exists in this language."""
UNKNOWN_OBJECT = 33
"""Subcode of 100: no object of this id, or not for this token."""

HREF = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"


@dataclass(frozen=True)
class Known:
    """A code of Meta's: its HTTP status and its text, without the number."""

    status: int
    text: str


CODES: Mapping[int, Known] = {
    100: Known(400, "Invalid parameter"),
    190: Known(401, "Invalid OAuth access token"),
    2500: Known(400, "Unknown path components"),
    80007: Known(400, "Rate limit issues"),
    130429: Known(400, "Rate limit hit"),
    131000: Known(500, "Something went wrong"),
    131008: Known(400, "Required parameter is missing"),
    131009: Known(400, "Parameter value is not valid"),
    131016: Known(503, "Service unavailable"),
    131021: Known(400, "Recipient cannot be sender"),
    131026: Known(400, "Message undeliverable"),
    131047: Known(400, "Re-engagement message"),
    131048: Known(400, "Spam rate limit hit"),
    131049: Known(400, "Message not delivered to maintain healthy ecosystem engagement"),
    131050: Known(400, "User has stopped marketing messages from the business"),
    131051: Known(400, "Unsupported message type"),
    131056: Known(400, "(Business account, consumer account) pair rate limit hit"),
    132000: Known(400, "Number of parameters does not match the expected number of params"),
    132001: Known(404, "Template name does not exist in the translation"),
    132005: Known(400, "Translated text too long"),
    132012: Known(400, "Parameter format does not match format in the created template"),
    132015: Known(400, "Template is Paused"),
    132016: Known(400, "Template is Disabled"),
    132018: Known(400, "There is an issue with the parameters of the template"),
    132068: Known(400, "Flow is in blocked state"),
    132069: Known(400, "Flow is in throttled state"),
}
THROTTLING = frozenset({80007, 130429, 131056, 132069})
"""Codes whose HTTP status is a setting (A-M1)."""
_OF_MESSAGES = range(130000, 136000)


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a request."""

    code: int
    rule: str
    detail: str
    where: str | None = None
    subcode: int | None = None
    title: str = ""
    """What a person is shown (``error_user_title``); the detail follows as ``error_user_msg``."""


class Refused(Exception):
    """The request is not taken; carries every mistake that was found."""

    def __init__(self, mistakes: Sequence[Mistake], headers: Mapping[str, str] | None = None) -> None:
        super().__init__([mistake.rule for mistake in mistakes])
        self.mistakes = tuple(mistakes)
        self._headers = dict(headers or {})

    def status(self, throttled: int) -> int:
        """The HTTP status; ``throttled`` is the account's habit."""
        code = self.mistakes[0].code
        return throttled if code in THROTTLING else CODES[code].status

    def answer(self, throttled: int = 400) -> Response:
        """The error document of the first mistake."""
        error = _error(self.mistakes[0])
        trace = str(error["fbtrace_id"])
        headers = {**self._headers, "x-fb-trace-id": trace}
        return GraphResponse({"error": error}, self.status(throttled), headers)


class GraphResponse(Response):
    """JSON as Graph writes it."""

    media_type = "application/json"

    def __init__(self, document: JsonObject, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(written(document), status, headers)


def refuse(code: int, rule: str, detail: str, where: str | None = None, subcode: int | None = None) -> Refused:
    """A refusal with a single mistake."""
    return Refused([Mistake(code, rule, detail, where, subcode)])


def refuse_all(mistakes: Sequence[Mistake]) -> None:
    """Refuse when there is any mistake."""
    if mistakes:
        raise Refused(mistakes)


def unknown_object() -> Refused:
    """What Graph says of an id that names nothing, or nothing of this token's."""
    detail = (
        "the object does not exist, cannot be loaded due to missing permissions, or does not support this operation"
    )
    return refuse(PARAMETER, "unknown-object", detail, "path", UNKNOWN_OBJECT)


def failure(code: int, details: str) -> JsonObject:
    """An element of ``errors[]`` in a status ``failed``."""
    text = CODES[code].text if code in CODES else "Message failed"
    return {"code": code, "title": text, "message": text, "error_data": {"details": details}, "href": HREF}


def _error(mistake: Mistake) -> JsonObject:
    error: JsonObject = {
        "message": f"(#{mistake.code}) {CODES[mistake.code].text}",
        "type": "GraphMethodException" if mistake.subcode == UNKNOWN_OBJECT else "OAuthException",
        "code": mistake.code,
    }
    if mistake.subcode is not None:
        error["error_subcode"] = mistake.subcode
    if mistake.code in _OF_MESSAGES:
        error["error_data"] = {"messaging_product": "whatsapp", "details": mistake.detail}
    elif mistake.code != 190:
        error["is_transient"] = mistake.code in THROTTLING
        error["error_user_title"] = mistake.title or CODES[mistake.code].text
        error["error_user_msg"] = mistake.detail
    name = f"{mistake.code}:{mistake.rule}:{mistake.where}"
    return {**error, "fbtrace_id": "A" + hashlib.sha256(name.encode()).hexdigest()[:22]}
