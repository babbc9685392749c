"""What the other sides need of Recrubo and of the recruiter's system, as small as it can honestly be. Needs httpx."""

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import httpx

MEDIA_TYPE = "application/vnd.api+json"
TEMPLATE_KNOWN_S = 60.0
SECRET_HEADER = "x-recrubo-webhook-secret"  # noqa: S105 - a header's name


class Message(TypedDict):
    """A template with its one variable, and the flow that it opens."""

    template: str
    flow: str
    first_name: str


class Order(TypedDict):
    """What is asked for."""

    reference: str
    phone: str
    opening: Message
    reminder: Message
    remind_after: float
    give_up_after: float


class Told(TypedDict):
    """One event of a webhook. ``key`` is the same for every repetition; ``reference`` is ours, where it came along."""

    key: str
    thread: str
    reference: str
    status: str


class FlowRun(TypedDict):
    """A run as the provider shows it."""

    id: str
    status: str
    state: dict[str, str]


class SendUnknown(Exception):
    """The provider did not answer a send, and cannot show it: a person has to look."""


@dataclass(frozen=True)
class Settings:
    """Where everything is, from the environment."""

    recrubo: str
    token: str
    hook_secret: str
    ats: str
    ats_secret: str
    access: str

    @classmethod
    def load(cls) -> "Settings":
        """Read ``BENCH_*``."""
        names = ("RECRUBO", "TOKEN", "HOOK_SECRET", "ATS", "ATS_SECRET", "ACCESS")
        return cls(*(os.environ[f"BENCH_{name}"] for name in names))


class Recrubo:
    """The provider's API: one request a method, but for ``thread_of``."""

    def __init__(self, settings: Settings) -> None:
        headers = {"Authorization": f"Bearer {settings.token}", "Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=50)
        self._http = httpx.AsyncClient(
            base_url=settings.recrubo, headers=headers, limits=limits, timeout=20, trust_env=False
        )
        self._approved: dict[str, tuple[bool, float]] = {}

    async def is_approved(self, template: str) -> bool:
        """Whether the template may be sent, as it was known a minute ago at most: it is the same for everybody."""
        known = self._approved.get(template)
        if known is None or known[1] < time.monotonic():
            answer = (await self._http.get(f"/message-templates/{template}")).raise_for_status()
            approved = bool(answer.json()["data"]["attributes"]["status"] == "APPROVED")
            known = self._approved[template] = (approved, time.monotonic() + TEMPLATE_KNOWN_S)
        return known[0]

    async def thread_of(self, phone: str) -> str:
        """Find the thread of a number, or open it."""
        query = {"filter[channel]": "whatsapp", "filter[identifier]": phone}
        found = (await self._http.get("/message-threads", params=query)).raise_for_status().json()["data"]
        if found:
            return str(found[0]["id"])
        attributes = {"channel": "whatsapp", "identifier": phone}
        return await self._create("/message-threads", "messageThreads", attributes)

    async def trigger(self, thread: str, reference: str, message: Message) -> str:
        """Send: never to be repeated blindly. Returns the run's id."""
        parameters = [{"type": "text", "text": message["first_name"]}]
        template = {"id": message["template"], "components": [{"type": "body", "parameters": parameters}]}
        attributes = {
            "flowId": message["flow"],
            "messageThreadId": thread,
            "state": {"clientReference": reference},
            "initialMessage": {"type": "template", "template": template},
        }
        return await self._create("/flow-runs", "flowRuns", attributes)

    async def run_of(self, thread: str, reference: str) -> str:
        """The run that a send whose answer was lost made. Raises ``SendUnknown`` where there is none to be seen."""
        answer = await self._http.get("/flow-runs", params={"filter[messageThreadId]": thread})
        for run in answer.raise_for_status().json()["data"]:
            if run["attributes"]["state"].get("clientReference") == reference:
                return str(run["id"])
        raise SendUnknown(f"no run of {reference} is to be seen")

    async def run(self, run_id: str) -> FlowRun:
        """Read a run: a webhook proves nothing about its content."""
        attributes = (await self._http.get(f"/flow-runs/{run_id}")).raise_for_status().json()["data"]["attributes"]
        return FlowRun(id=run_id, status=attributes["status"], state=attributes["state"])

    async def _create(self, path: str, kind: str, attributes: Mapping[str, object]) -> str:
        body = json.dumps({"data": {"type": kind, "attributes": attributes}})
        return str((await self._http.post(path, content=body)).raise_for_status().json()["data"]["id"])


class Ats:
    """The recruiter's system, told by signed webhooks (Standard Webhooks)."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.ats
        self._key = base64.b64decode(settings.ats_secret.removeprefix("whsec_"))
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=50)
        self._http = httpx.AsyncClient(limits=limits, timeout=20, trust_env=False)

    async def tell(self, reference: str, outcome: str, answers: Mapping[str, str]) -> None:
        """Tell how it ended; repeating is harmless, the id is the same."""
        data = {"tenant": "acme", "reference": reference, "outcome": outcome, "answers": dict(answers)}
        body = json.dumps({"type": "engagement.closed", "data": data})
        event_id, stamp = f"{reference}:outcome", str(int(time.time()))
        signature = base64.b64encode(hmac.digest(self._key, f"{event_id}.{stamp}.{body}".encode(), hashlib.sha256))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{signature.decode()}",
        }
        (await self._http.post(self._url, content=body, headers=headers)).raise_for_status()


def is_authentic(headers: Mapping[str, str], secret: str) -> bool:
    """Whether a webhook is the provider's."""
    return hmac.compare_digest(headers.get(SECRET_HEADER, "").encode(), secret.encode())


def read_webhook(body: bytes) -> Told | None:
    """What a webhook tells; None where it is of no interest: our own message was created."""
    resource = json.loads(body)["data"]["attributes"]["resource"]
    attributes, about = resource["attributes"], f"{resource['type']}:{resource['id']}"
    thread = str(attributes["messageThreadId"])
    if resource["type"] == "flowRuns":
        status, reference = str(attributes["status"]), str(attributes["state"].get("clientReference", ""))
        return Told(key=f"{about}:{status}", thread=thread, reference=reference, status=f"run {status}")
    if attributes["origin"] == "inbound":
        return Told(key=f"{about}:create", thread=thread, reference="", status="text")
    status = str(attributes["deliveryStatus"])
    if status == "accepted":
        return None
    return Told(key=f"{about}:{status}", thread=thread, reference="", status=status)


def order_of(phone: str, reference: str, templates: tuple[str, str], flow: str) -> Order:
    """The order that Rapport's plan spells out."""
    opening, reminder = (Message(template=template, flow=flow, first_name="Ada") for template in templates)
    return Order(
        reference=reference,
        phone=phone.removeprefix("+"),
        opening=opening,
        reminder=reminder,
        remind_after=3 * 86400.0,
        give_up_after=5 * 86400.0,
    )
