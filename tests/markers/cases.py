"""What happens to the people of the marker test: every flow, every failure, and every act of an operator."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from standardwebhooks import Webhook
from temporalio.client import WorkflowExecutionStatus

from domain.model import JsonValue
from tests.e2e.sides import SIDES
from tests.markers import troubled
from tests.markers.house import ATS_SECRET, HELD, TENANT, House
from tests.markers.people import Person
from tests.markers.scenes import PERSONAS, STRANGERS, answers_of, asked_for, echo, people, plan_of, text_of
from workflows import search_attributes as attributes

WITHIN_S = 150.0
"""As long as nothing is wrong it takes a tenth of this; a busy machine is no defect."""
AT_ONCE = 8
"""Engagements that are asked for at the same time."""


@dataclass(frozen=True)
class Standing:
    """Where an engagement stands, as Temporal lists it."""

    stage: str
    needs_human: bool
    outcome: str | None


class Life:
    """Lets everything happen, side by side."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.people = people()
        self._standing: dict[str, Standing] = {}
        self._by_reference = {person.reference: person for person in self.people}

    def person(self, reference: str) -> Person:
        """One of them."""
        return self._by_reference[reference]

    async def happen(self) -> None:
        """From the first request to the last outcome."""
        await asyncio.gather(*(self._seat(person) for person in self.people))
        watching, few = asyncio.create_task(self._watch()), asyncio.Semaphore(AT_ONCE)
        try:
            await asyncio.gather(*(self._engage(person, few) for person in self.people))
            await self._side_by_side()
            await self.until("everybody has come to their end", self._all_ended)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await self._operators_look()

    async def _side_by_side(self) -> None:
        await asyncio.gather(
            self._strangers_write(),
            self._their_system_tells(),
            self._undelivered(),
            self._late(),
            self._operators_type(),
            self._garbled(),
            self._lost_for_good(),
        )

    async def _seat(self, person: Person) -> None:
        case, number = person.case, person.phone[1:]
        persona = PERSONAS.get(case, "answers")
        options: dict[str, JsonValue] = {"answers": answers_of(person)}
        if persona == "texts":
            options["text"] = text_of(person)
        await self._house.play("personas", {"number": number, "persona": persona, "options": options})
        if person.reference in ("recrubo-goes-over", "meta-undelivered"):
            await self._house.play("personas", {"number": number, "persona": "unreachable", "options": {}})
        fault: dict[str, JsonValue] = {
            "provider": person.side,
            "operation": SIDES[person.side].sends,
            "number": number,
        }
        refusal = echo(person.side, person.everything)
        if case != "refused" and isinstance(refusal.get("error"), dict):
            refusal["error"] |= {"code": 131000}  # type: ignore[operator]  # an error of which nobody knows what it did
        body = json.dumps(refusal, ensure_ascii=False)
        said: dict[str, JsonValue] = {"body": body, "content_type": "application/json"}
        match case:
            case "refused":
                await self._fault({**fault, "kind": "error-before", "options": {**said, "status": 400}})
            case "lost":
                await self._fault({**fault, "kind": "error-after", "options": {**said, "status": 500}})
            case "nowhere":
                await self._fault({**fault, "kind": "error-before", "options": {**said, "status": 500}})

    async def _fault(self, fault: dict[str, JsonValue]) -> None:
        await self._house.play("faults", fault)

    async def _engage(self, person: Person, few: asyncio.Semaphore) -> None:
        async with few:
            await self._ask_for(person)

    async def _ask_for(self, person: Person) -> None:
        body = asked_for(person)
        if person.case == troubled.START:
            refused = await self._house.post("/v1/engagements", body, ok=False)
            assert refused.status_code == 500
        if person.case == "operated":  # wrong in many ways: what is refused is told without what was wrong
            nobody: dict[str, JsonValue] = {"phone": person.everything, "name": person.everything}
            wrong: dict[str, JsonValue] = {**body, "line": person.phone, "candidate": nobody}
            assert (await self._house.post("/v1/engagements", wrong, ok=False)).status_code == 422
        await self._house.post("/v1/engagements", body)

    # -- what comes in

    async def _strangers_write(self) -> None:
        house = self._house
        for person in STRANGERS:
            await house.deliver("recrubo", f"{{{person.everything}".encode())
            assert await house.deliver("recrubo", person.everything.encode(), genuine=False) == 401
            known: dict[str, JsonValue] = {"number": person.phone[1:], "type": "text", "text": text_of(person)}
            await house.play("meta/inbound", known)
            await house.play("meta/bytes", {"text": f'{{"entry": "{person.everything}"'})
            change: dict[str, JsonValue] = {"field": "messages", "value": {"messages": [{"type": person.everything}]}}
            await house.play("meta/changes", change)
            event: dict[str, JsonValue] = {"account": "truora", "event_type": "digital_identity"}
            shown: dict[str, JsonValue] = {"phone_number": person.phone, "status": person.everything}
            await house.play("truora/events", {**event, "event_action": "unheard-of", "object": shown})
            await house.webhooks.get(f"/webhooks/meta/meta?hub.mode={person.phone}&hub.challenge=1&hub.verify_token=no")

    async def _their_system_tells(self) -> None:
        person = self.person("meta-moved")
        await self._waits(person)
        path, its = f"/v1/engagements/{person.reference}/ats-status", person.markers
        await self._house.post(path, {"status": "moved", "reason": "second round", "command_id": "moved-1"})
        data: dict[str, JsonValue] = {
            "reference": person.reference,
            "status": "withdrawn",
            "reason": "took another job",
            "candidate": {
                "note": its["column of their system"],
                "name": its["full name"],
                "email": its["e-mail"],
                "phone": its["number, spaced"],
            },
        }
        unreadable: dict[str, JsonValue] = {"status": STRANGERS[0].everything}
        known = "engagement.status"
        for kind, about in ((known, data), (known, unreadable), (person.everything, data)):
            await self._tell({"type": kind, "data": about})

    async def _tell(self, told: JsonValue) -> None:
        body, now = json.dumps(told), datetime.now(UTC)
        name = f"msg-{abs(hash(body))}"
        headers = {
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(ATS_SECRET).sign(name, now, body),
        }
        answer = await self._house.webhooks.post(f"/webhooks/ats/{TENANT}", content=body, headers=headers)
        assert answer.status_code == 200, answer.status_code

    async def _undelivered(self) -> None:
        """The provider says why a message did not arrive, at length."""
        house = self._house
        person = self.person("meta-undelivered")
        for message in await self._at("meta/messages", "messages", person):
            failed: dict[str, JsonValue] = {"status": "failed", "code": 131026, "details": person.everything}
            await house.play(f"meta/messages/{message['id']}/status", failed)
        person = self.person("truora-undelivered")
        for session in await self._at("truora/sessions", "sessions", person):
            failed = {"outcome": "failed", "failure_status": person.everything, "declined_reason": person.everything}
            await house.play(f"truora/sessions/{session['id']}", failed)
        person = self.person("recrubo-undelivered")
        for run in await self._at("recrubo/runs", "runs", person):
            attributes: dict[str, JsonValue] = {
                "messageThreadId": run["thread"],
                "origin": "outbound",
                "deliveryStatus": "failed",
                "errorMessages": [person.everything, {"code": person.everything, "message": person.everything}],
                "createdAt": datetime.now(UTC).isoformat(),
                "flowRunId": run["id"],
            }
            resource: JsonValue = {"type": "messages", "id": "msg-undelivered", "attributes": attributes}
            payload: dict[str, JsonValue] = {"event": "update", "fields": ["deliveryStatus"], "resource": resource}
            data: JsonValue = {"type": "webhookPayload", "id": "delivery-undelivered", "attributes": payload}
            assert await house.deliver("recrubo", json.dumps({"data": data}).encode()) == 200
            ended: dict[str, JsonValue] = {"status": "exception", "state": {"error": person.everything}}
            await house.play(f"recrubo/runs/{run['id']}", ended)

    async def _late(self) -> None:
        """Who writes when it is over."""
        for side in SIDES:
            person = self.person(f"{side}-late")
            await self.until(f"{person.reference} is over", partial(self._stands, person, "over"))
            written: dict[str, JsonValue] = {"number": person.phone[1:], "text": text_of(person)}
            await self._house.play(f"{side}/inbound", {**written, "type": "text"} if side == "meta" else written)

    async def _garbled(self) -> None:
        """Signals that no release of ours ever sent, with a person in each."""
        person = self.person("meta-garbled")
        await self._waits(person)
        handle = self._house.client.get_workflow_handle(f"engagement:{TENANT}:{person.reference}")
        for signal in ("provider-events", "contact-changed", "gate-decision", "no-such-signal"):
            await handle.signal(signal, {"events": person.everything, "key": 7, "opt_out": person.everything})
        body: dict[str, JsonValue] = {"command_id": "stop-garbled", "actor": "desk", "reason": "tried enough"}
        await self._house.post(f"/v1/engagements/{person.reference}/stop", body)

    # -- what operators do

    async def _lost_for_good(self) -> None:
        """Sends of which nobody can say whether they left: a person looks and decides."""
        for side, word in (("meta", "resend"), ("truora", "resolve-send")):
            person = self.person(f"{side}-nowhere")
            await self.until(f"{person.reference} needs a person", partial(self._needs_person, person))
            body: dict[str, JsonValue] = {"command_id": f"lost-{side}", "actor": "desk", "reason": "looked it up"}
            if word == "resolve-send":
                (listed,) = await self._house.type(_typed("sends", "--unknown", "--json"))
                mine = [s for s in json.loads(str(listed["output"])) if person.reference in s["key"]]
                assert mine, "it is listed"
                body |= {"send_key": mine[0]["key"], "was_sent": False}
            await self._house.post(f"/v1/engagements/{person.reference}/{word}", body)

    async def _operators_type(self) -> None:
        house, operated, withdrawn = self._house, self.person("meta-operated"), self.person("meta-withdrawn")
        await asyncio.gather(self._waits(operated), self._waits(withdrawn))
        later = plan_of(operated).model_copy(update={"version": 2})
        file = house.directory / "later.yaml"
        file.write_text(later.model_dump_json())
        its, reference = operated.markers, operated.reference
        why = ("--reason", "asked for")
        answers = await house.type(
            _typed("pause", reference, *why),
            _typed("resume", reference, *why),
            _typed("plan", "migrate", str(file), reference, *why, "--yes"),
            _typed("contacts", "show", withdrawn.phone, tenant=False),
            _typed("contacts", "opt-out", withdrawn.phone, "--scope", "all", *why, tenant=False),
            _typed("contacts", "opt-in", withdrawn.phone, "--scope", "all", *why, tenant=False),
            _typed("contacts", "opt-out", withdrawn.everything, "--scope", "all", *why, tenant=False),
            _typed("show", operated.phone),
            _typed("stop", operated.phone, *why),
            _typed(
                *("mark-answered", reference, *why, "--text", its["told by an operator"]),
                *("--answer", f"phone={its['number, spaced']}"),
            ),
        )
        told = {" ".join(map(str, _words(one)))[:20]: one["code"] for one in answers}
        assert [one["code"] for one in answers][:6] == [0] * 6, told
        assert answers[-1]["code"] == 0, told

    async def _operators_look(self) -> None:
        reference = self.person("recrubo-answers").reference
        looks = [("list",), ("show", reference), ("trace", reference), ("trace", reference, "--json")]
        looks += [("trace", reference, "--technical"), ("inbox", "list", "--all"), ("inbox", "show", "1")]
        looks += [("ats", "received"), ("holds", "list"), ("keys", "list"), ("pauses",)]
        with_tenant = {"list", "show", "trace"}
        commands = [_typed(*words, tenant=words[0] in with_tenant) for words in looks]
        for answer in await self._house.type(*commands):
            self._house.said[" ".join(map(str, _words(answer)))] = str(answer["output"])

    # -- waiting

    async def until(self, what: str, ask: Callable[[], bool]) -> None:
        """Wait until it is so, by what Temporal lists of everybody."""
        limit = time.monotonic() + WITHIN_S
        while not ask():
            assert time.monotonic() < limit, f"not within {WITHIN_S:g} s: {what}; {self._standing}"
            await asyncio.sleep(0.1)

    async def _watch(self) -> None:
        """What Temporal lists, as long as somebody waits for something."""
        while True:
            async for run in self._house.client.list_workflows("WorkflowType = 'candidate-engagement'"):
                its = run.typed_search_attributes
                stage = its.get(attributes.STAGE, default="")
                self._standing[run.id.rpartition(":")[2]] = Standing(
                    stage="over" if run.status is not WorkflowExecutionStatus.RUNNING else stage,
                    needs_human=its.get(attributes.NEEDS_HUMAN, default=False),
                    outcome=its.get(attributes.OUTCOME),
                )
            await asyncio.sleep(0.4)

    @property
    def outcomes(self) -> dict[str, str | None]:
        """How each engagement ended; None for those that have not."""
        return {reference: standing.outcome for reference, standing in self._standing.items()}

    def _all_ended(self) -> bool:
        return all(self._stands(person, "over") or person.case == HELD for person in self.people)

    async def _waits(self, person: Person) -> None:
        await self.until(f"{person.reference} waits", lambda: self._stands(person, "awaiting-answer"))

    def _needs_person(self, person: Person) -> bool:
        standing = self._standing.get(person.reference)
        return standing is not None and standing.needs_human

    def _stands(self, person: Person, stage: str) -> bool:
        standing = self._standing.get(person.reference)
        return standing is not None and standing.stage == stage

    async def _at(self, path: str, members: str, person: Person) -> list[dict[str, JsonValue]]:
        """What the provider has of this person, once it has something."""
        limit = time.monotonic() + WITHIN_S
        while time.monotonic() < limit:
            answer = await self._house.sandbox.get(f"/control/{path}", params={"number": person.phone[1:]})
            found: list[dict[str, JsonValue]] = answer.json()[members]
            if found:
                return found
            await asyncio.sleep(0.3)
        raise AssertionError(f"{path} has nothing of {person.reference}")


def _typed(*words: str, tenant: bool = True) -> Mapping[str, JsonValue]:
    return {"words": [*words, *(("--tenant", TENANT) if tenant else ())]}


def _words(answer: Mapping[str, JsonValue]) -> list[JsonValue]:
    words = answer["words"]
    assert isinstance(words, list)
    return words
