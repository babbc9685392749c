"""The sandbox's control API as this harness uses it: seats, and what arrived on the phones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import httpx
from pydantic import BaseModel

from tests.chaos.script import Person, Persona


class Message(BaseModel):
    """One message that was made for a phone, whether it arrived or not."""

    provider: str
    to: str
    template: str | None
    reference: str | None
    arrived: bool


class _Messages(BaseModel):
    messages: tuple[Message, ...]


class _AtsDelivery(BaseModel):
    webhook_id: str
    repeat: bool
    body: dict[str, object]


class _AtsDeliveries(BaseModel):
    deliveries: tuple[_AtsDelivery, ...]


class Refusal(BaseModel):
    """A mistake of our client that the simulator named."""

    provider: str
    operation: str
    status: int
    rule: str


class _Refusals(BaseModel):
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True)
class Told:
    """One delivery that the recruiter's system accepted."""

    webhook_id: str
    body: dict[str, object]


class Phones:
    """What the simulators know. It is the judge: none of it comes from the product."""

    def __init__(self, base: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"{base}/control", timeout=60, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def seat(self, person: Person) -> None:
        """Put a candidate at a phone."""
        answers = {"word": person.word}
        if person.persona is Persona.DECLINES:
            answers["available"] = "no"
        options: dict[str, object] = {"delay": person.delay, "finish_after": 0.3, "answers": answers}
        if person.persona is Persona.SILENT:
            options["session_ends"] = False
        seat = {"number": person.phone.removeprefix("+"), "persona": person.persona.value, "options": options}
        (await self._http.post("/personas", json=seat)).raise_for_status()

    async def messages(self, phone: str | None = None) -> Sequence[Message]:
        """Everything that was made for one phone or for all."""
        found: list[Message] = []
        for arrived in (True, False):
            wanted = {"arrived": str(arrived).lower()} | ({"number": phone.removeprefix("+")} if phone else {})
            answer = (await self._http.get("/phones", params=wanted)).raise_for_status()
            found += _Messages.model_validate_json(answer.content).messages
        return found

    async def told(self) -> Sequence[Told]:
        """What the recruiter's system accepted, repeats left out."""
        answer = (await self._http.get("/ats", params={"tenant": "acme"})).raise_for_status()
        deliveries = _AtsDeliveries.model_validate_json(answer.content).deliveries
        return [Told(one.webhook_id, one.body) for one in deliveries if not one.repeat]

    async def refusals(self) -> Sequence[Refusal]:
        """What the simulators refused as a mistake of our client."""
        answer = (await self._http.get("/refusals")).raise_for_status()
        return _Refusals.model_validate_json(answer.content).refusals
