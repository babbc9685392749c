"""Loads wire vectors for judging the sandbox; knows nothing of the client. Recrubo's, unless another is named."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

FOLDER = Path(__file__).parent / "vectors"

JsonObject = dict[str, JsonValue]


def part(value: JsonValue, *path: str | int) -> JsonObject:
    """The object at a path of a document."""
    for step in path:
        if isinstance(value, list):
            value = value[int(step)]
        else:
            assert isinstance(value, dict)
            value = value[str(step)]
    assert isinstance(value, dict)
    return value


def vector(name: str, provider: str = "recrubo") -> JsonObject:
    """One vector, whole."""
    value: JsonValue = json.loads((FOLDER / provider / f"{name}.json").read_text("utf-8"))
    return part(value)


@dataclass(frozen=True)
class Request:
    """A request vector."""

    name: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str | None

    @property
    def document(self) -> JsonObject:
        assert self.body is not None
        return part(json.loads(self.body))


def request(name: str, provider: str = "recrubo") -> Request:
    """One request vector."""
    wire = part(vector(name, provider), "request")
    body = wire["body"]
    return Request(
        name=name,
        method=str(wire["method"]),
        path=str(wire["path"]),
        query={key: str(value) for key, value in part(wire, "query").items()},
        headers={key: str(value) for key, value in part(wire, "headers").items()},
        body=body if isinstance(body, str) else None,
    )


def requests(provider: str = "recrubo") -> list[Request]:
    """Every request vector."""
    return [request(path.stem, provider) for path in sorted((FOLDER / provider).glob("request-*.json"))]


def response(name: str, provider: str = "recrubo") -> tuple[int, dict[str, str], JsonObject]:
    """Status, headers and decoded body of a response vector."""
    wire = part(vector(name, provider), "response")
    status, headers = wire["status"], part(wire, "headers")
    assert isinstance(status, int)
    return status, {key: str(value) for key, value in headers.items()}, part(json.loads(str(wire["body"])))


def delivery(name: str) -> tuple[dict[str, str], JsonObject]:
    """Headers and decoded body of the first delivery of a webhook vector."""
    wire = part(vector(name), "webhook", "deliveries", 0)
    headers = {key.lower(): str(value) for key, value in part(wire, "headers").items()}
    return headers, part(json.loads(str(wire["body"])))
