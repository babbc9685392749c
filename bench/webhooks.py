"""Recrubo's webhooks, written as it writes them: what the load is made of."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.e2e.sides import SANDBOX_SECRETS

PATH = "/webhooks/recrubo/recrubo"
SECRET = SANDBOX_SECRETS["env:RECRUBO_HOOK"]
HEADERS = {"content-type": "application/vnd.api+json", "x-recrubo-webhook-secret": SECRET}


@dataclass(frozen=True)
class Talk:
    """One open engagement as the provider knows it."""

    workflow_id: str
    thread_id: str
    run_id: str


def status(talk: Talk, message_id: str, word: str) -> bytes:
    """A message of ours got as far as ``word``."""
    payload: dict[str, object] = {"type": "template", "template": {"id": "tpl-invitation", "components": []}}
    attributes = _message(talk, payload, "outbound") | {"sendBy": "Recrubo", "deliveryStatus": word}
    return _packed("update", ["deliveryStatus"], "messages", message_id, attributes)


def text(talk: Talk, message_id: str, words: str = "Yes, that would suit me. Shall I call you?") -> bytes:
    """The candidate wrote."""
    attributes = _message(talk, {"type": "text", "text": {"value": words}}, "inbound")
    return _packed("create", [], "messages", message_id, attributes)


def finished(talk: Talk) -> bytes:
    """The candidate completed the flow."""
    attributes = {
        "createdAt": _now(),
        "updatedAt": _now(),
        "flowId": "flow-1",
        "messageThreadId": talk.thread_id,
        "state": {"available": "yes", "city": "Utrecht"},
        "initialMessage": {"type": "template", "template": {"id": "tpl-invitation", "components": []}},
        "context": {},
        "status": "finished",
        "cost": 1,
    }
    return _packed("update", ["status"], "flowRuns", talk.run_id, attributes)


def mixed(talks: list[Talk], series: str) -> Iterator[bytes]:
    """Without end: for each message three statuses, then the candidate's reply. Nothing comes twice."""
    number = 0
    while True:
        for talk in talks:
            for word in ("sent", "delivered", "read"):
                yield status(talk, f"msg-{series}-{number}", word)
            yield text(talk, f"in-{series}-{number}")
            number += 1


def _message(talk: Talk, payload: dict[str, object], origin: str) -> dict[str, object]:
    return {
        "createdAt": _now(),
        "updatedAt": _now(),
        "sendBy": None,
        "origin": origin,
        "messageThreadId": talk.thread_id,
        "payload": payload,
        "deliveryStatus": None,
        "errorMessages": [],
    }


def _packed(event: str, fields: list[str], kind: str, its_id: str, attributes: dict[str, object]) -> bytes:
    resource = {"type": kind, "id": its_id, "attributes": attributes, "relationships": {}}
    told: dict[str, object] = {"webhookId": "wh_bench", "event": event, "resource": resource}
    if fields:
        told["fields"] = fields
    document = {"data": {"type": "webhookPayload", "id": f"dlv-{its_id}", "attributes": told}}
    return json.dumps(document, separators=(",", ":")).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
