"""Loads the wire vectors beside this file: what a provider is sent, answers and delivers, with what is expected."""

import base64
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.model import JsonValue

ROOT = Path(__file__).with_name("vectors")

JsonObject = dict[str, JsonValue]


class Part(BaseModel):
    """A part of a vector. A member that the loader does not know is one that no test looks at: refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RequestVector(Part):
    method: str
    base_url: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body_kind: Literal["json", "form", "none"]
    body: str | None
    json_body: Annotated[JsonValue, Field(alias="json")] = None
    form: tuple[tuple[str, str], ...] = ()


class Case(Part):
    operation: str = "send"
    status: int | None
    headers: dict[str, str] = {}
    body: str | None = None
    json_body: Annotated[JsonValue, Field(alias="json")] = None
    transport_error: str = ""
    expect: JsonObject


class ResponseVector(Part):
    request: Annotated[str, Field(alias="for")]
    status: int | None = None
    headers: dict[str, str] = {}
    body: str | None = None
    json_body: Annotated[JsonValue, Field(alias="json")] = None
    expect: JsonObject = {}
    cases: tuple[Case, ...] = ()

    def all_cases(self, operation: str) -> tuple[Case, ...]:
        """The cases, or the vector itself as the one case of ``operation``."""
        if self.cases:
            return self.cases
        one = Case(operation=operation, status=self.status, headers=self.headers, body=self.body, expect=self.expect)
        return (one,)


class Delivery(Part):
    method: str
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    body: str | None = None
    body_base64: str | None = None
    decoded_payload: JsonValue = None
    expect: JsonObject

    def raw(self) -> bytes:
        return base64.b64decode(self.body_base64) if self.body_base64 is not None else (self.body or "").encode()

    def lower_headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}


class WebhookVector(Part):
    secret: str = ""
    verify_token: str = ""
    deliveries: tuple[Delivery, ...]
    effects: tuple[JsonObject, ...] = ()
    final_position: JsonValue = None
    state_before: JsonValue = None
    state_after: JsonValue = None


class Vector(Part):
    name: str
    source: str
    description: str
    request: RequestVector | None = None
    response: ResponseVector | None = None
    webhook: WebhookVector | None = None

    @model_validator(mode="after")
    def _is_exactly_one_kind(self) -> "Vector":
        if sum(part is not None for part in (self.request, self.response, self.webhook)) != 1:
            raise ValueError("a vector is exactly one of request, response, webhook")
        return self


@cache
def vectors(provider: str) -> dict[str, Vector]:
    """Every vector of a provider by its name, which is its place on disk."""
    found: dict[str, Vector] = {}
    for file in sorted((ROOT / provider).glob("*.json")):
        vector = Vector.model_validate_json(file.read_bytes())
        if vector.name != f"{provider}/{file.stem}":
            raise ValueError(f"{file.name}: is named {vector.name}")
        found[vector.name] = vector
    return found


def requests_of(provider: str) -> dict[str, RequestVector]:
    return {name: v.request for name, v in vectors(provider).items() if v.request is not None}


def responses_of(provider: str) -> dict[str, ResponseVector]:
    return {name: v.response for name, v in vectors(provider).items() if v.response is not None}


def webhooks_of(provider: str) -> dict[str, WebhookVector]:
    return {name: v.webhook for name, v in vectors(provider).items() if v.webhook is not None}
