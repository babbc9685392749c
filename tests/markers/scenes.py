"""Who is engaged in the marker test, how, what they answer, and how each case ends."""

from collections.abc import Iterator

from domain.model import JsonValue
from domain.outcomes import EngagementOutcome as Outcome
from domain.plans import Plan
from tests.e2e.sides import SIDES
from tests.markers import troubled
from tests.markers.house import HELD
from tests.markers.people import Person

SOON, LONG = "1s", "1h"
TIMING: dict[str, JsonValue] = {
    "send_start_to_close": "9s",
    "send_request": "6s",
    "lookup_start_to_close": "8s",
    "provider_pause": "1s",
    "template_poll": "10m",
    "reconcile_settle": "1s",
    "reconcile_reads": 1,
    "failure_settle": "1s",
}
TEMPLATE_ID = {"recrubo": {"id": HELD}, "truora": {"id": HELD}, "meta": {}}

ENDS: dict[str, Outcome] = {
    "answers": Outcome.COMPLETED,
    "silent": Outcome.NO_REPLY,
    "stops": Outcome.OPTED_OUT,
    "writes": Outcome.HANDED_OVER,
    "chats": Outcome.NO_REPLY,
    "refused": Outcome.MISCONFIGURED,
    "lost": Outcome.COMPLETED,
    "nowhere": Outcome.COMPLETED,
    "undelivered": Outcome.UNREACHABLE,
    "late": Outcome.NO_REPLY,
    "operated": Outcome.COMPLETED,
    "moved": Outcome.WITHDRAWN,
    "withdrawn": Outcome.OPTED_OUT,
    "goes-over": Outcome.UNREACHABLE,  # on both lines
    troubled.ADMISSION: Outcome.COMPLETED,
    troubled.REQUEST: Outcome.COMPLETED,
    troubled.READING: Outcome.COMPLETED,
    troubled.START: Outcome.COMPLETED,
    troubled.THREAD: Outcome.COMPLETED,
    "garbled": Outcome.STOPPED,
}
"""How each case ends. Who is held is so until they are erased."""
UNEXPLAINED = {"truora-undelivered", "recrubo-undelivered"}
"""HANDED_OVER too: Truora never says that it was the message that failed, Recrubo perhaps later than we wait here."""
EVERYWHERE = ("answers", "silent", "stops", "refused", "lost", "nowhere", "undelivered", "late", HELD)
ELSEWHERE = {
    "recrubo": ("writes", "chats", "goes-over", troubled.THREAD),
    "meta": (
        *("writes", "chats", "operated", "moved", "withdrawn", "garbled"),
        *(troubled.ADMISSION, troubled.REQUEST, troubled.READING, troubled.START),
    ),
    "truora": (),
}


def people() -> tuple[Person, ...]:
    """Everybody who is engaged."""
    return tuple(_people())


def _people() -> Iterator[Person]:
    n = 1
    for side in SIDES:
        for case in (*EVERYWHERE, *ELSEWHERE[side]):
            if case == troubled.THREAD:
                yield Person(int(troubled.THREAD_DIGITS), side, case)
                continue
            yield Person(n, side, case)
            n += 1


STRANGERS = tuple(Person(90 + n, side, "stranger", is_stranger=True) for n, side in enumerate(SIDES))
"""They write to us, and nobody engaged them. What cannot be read is theirs too: it belongs to nobody."""

PERSONAS: dict[str, str] = {
    "silent": "silent",
    "stops": "stops",
    "writes": "texts",
    "chats": "texts",
    "undelivered": "silent",
    "late": "silent",
    "operated": "silent",
    "moved": "silent",
    "withdrawn": "silent",
    "garbled": "silent",
}
"""Who is not named answers."""


def plan_of(person: Person) -> Plan:
    """A plan in which nothing is waited for that does not come."""
    side, case = SIDES[person.side], person.case
    of_one: dict[str, object] = {"language": "en", "variables": ("first_name",)}
    reminder = {**of_one, **side.reminder}
    changes: dict[str, object] = {"follow_ups": (), "silence": {"after": LONG}}
    match case:
        case "silent":
            changes = {
                "follow_ups": ({"after": SOON, "template": reminder, "flow": side.flow},),
                "silence": {"after": SOON},
            }
        case "late":
            changes["silence"] = {"after": SOON}
        case "writes":
            changes["unexpected_text"] = "hand-over"
        case "chats":
            words = {"text": "Dear {{full_name}} of {{address}}, a {{job_wanted}} at {{employer}}?"}
            step = {"on": "text", "template": reminder, "free_form": words}
            if person.side == "meta":  # whose reminder has a button
                step = {**step, "flow": side.flow, "free_form": {**words, "button": "Begin"}}
            changes["follow_ups"] = (step,)
            changes["silence"] = {"after": "4s"}
        case "goes-over":
            meta = SIDES["meta"]
            opening = {"template": {**of_one, **meta.invitation}, "flow": meta.flow}
            fallback = {"line": meta.line, "opening": opening, "silence": {"after": LONG}}
            changes["silence"] = {"after": LONG, "then": "fallback-line", "fallback": fallback}
        case _ if case == HELD:
            template = {**of_one, "name": HELD, **TEMPLATE_ID[person.side]}
            changes["opening"] = {"template": template, "flow": side.flow}
    return side.plan(**changes)


def asked_for(person: Person) -> dict[str, JsonValue]:
    """What the tenant's system sends to have somebody engaged."""
    its = person.markers
    columns: dict[str, JsonValue] = {
        "first_name": its["given name"],
        "full_name": its["full name"],
        "email": its["e-mail"],
        "address": its["address"],
        "role": its["template variable"],
        "employer": its["second variable"],
        "job_wanted": its["job wanted"],
        "calls": its["number, national"],
        "note": its["column of their system"],
    }
    consent: dict[str, JsonValue] = {"source": its["opt-in evidence"], "obtained_at": "2026-01-01T09:00:00Z"}
    candidate: dict[str, JsonValue] = {"phone": person.phone, "variables": columns, "consent": consent}
    plan: JsonValue = plan_of(person).model_dump(mode="json")
    line = SIDES[person.side].line
    return {"reference": person.reference, "line": line, "candidate": candidate, "plan": plan, "timing": TIMING}


def answers_of(person: Person) -> dict[str, JsonValue]:
    """What this person fills in."""
    its = person.markers
    return {
        "available": its["answer, a word"],
        "city": its["answer, accented"],
        "when": its["answer, a sentence"],
        "phone": its["number, spaced"],
    }


def text_of(person: Person) -> str:
    """What this person writes, at length."""
    its = person.markers
    return f"{its['free text']}; {its['thread content']}; ring {its['number, spaced']} or {its['number, national']}"


def echo(side: str, everything: str) -> dict[str, JsonValue]:
    """A refusal whose every member repeats what was sent."""
    match side:
        case "recrubo":
            item: dict[str, JsonValue] = {"status": "422", "code": everything, "title": everything}
            item |= {"detail": everything, "source": {"pointer": everything}, "meta": {"message": everything}}
            return {"errors": [item]}
        case "meta":
            told: dict[str, JsonValue] = {"message": everything, "type": everything, "code": 132012}
            told |= {"error_data": {"details": everything}, "error_user_msg": everything, "fbtrace_id": everything}
            return {"error": told}
    return {"code": 10400, "http_code": 400, "message": everything}
