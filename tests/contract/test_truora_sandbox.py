"""The sandbox's Truora against the wire vectors: takes what the pages allow, refuses the rest, answers alike."""

import json
from pathlib import Path
from urllib.parse import urlencode

import httpx
import jwt
import pytest
from pydantic import JsonValue

from tests.contract.sandbox_vectors import JsonObject, Request, part, request, requests, response, vector
from tests.unit.sandbox.playground import at
from tests.unit.sandbox.truora_playground import (
    FLOW,
    NOTIFICATION,
    NUMBER,
    OTHER_LINE,
    OUTBOUND,
    PENDING,
    SIGNING_KEY,
    TruoraPlay,
    account,
    events_of,
    form,
    playing,
    settings,
)

SEND, NOTIFY = "request-send-flow-with-variables", "request-send-notification-without-flow"
TAKEN = {
    "request-outbound-get": "outbound-read",
    "request-outbounds-list": "outbound-list",
    SEND: "outbound-send",
    NOTIFY: "outbound-send",
}
"""What every request vector is here. One that is missing makes a test fail."""
ALL = requests("truora")
SENDS = [found for found in ALL if found.method == "POST"]


async def ask(
    play: TruoraPlay,
    wanted: Request,
    *,
    headers: dict[str, str] | None = None,
    body: str | bytes | None = None,
    query: dict[str, str] | None = None,
) -> httpx.Response:
    """Send a vector as it stands, or with a change, through a client without headers of its own."""
    content = wanted.body if body is None else body
    return await play.control.request(
        wanted.method,
        f"{play.url}/truora{wanted.path}",
        params=wanted.query if query is None else query,
        headers=wanted.headers if headers is None else headers,
        content=content,
    )


def pairs_of(name: str) -> list[tuple[str, str]]:
    pairs = part(vector(name, "truora"), "request")["form"]
    assert isinstance(pairs, list)
    return [(str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list)]


def changed(pairs: list[tuple[str, str]], **values: str | None) -> str:
    """The form with other values; None takes a field away, a new name is added at the end."""
    kept = [(name, values.get(name, value)) for name, value in pairs]
    kept += [(name, value) for name, value in values.items() if name not in dict(pairs)]
    return urlencode([(name, value) for name, value in kept if value is not None])


def shape(value: JsonValue) -> JsonValue:
    """What a value looks like: members and their kinds, values left out."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


def test_every_request_vector_has_its_place_in_these_tests() -> None:
    assert {found.name for found in ALL} == set(TAKEN)


@pytest.mark.parametrize("wanted", ALL, ids=lambda wanted: wanted.name)
async def test_every_request_vector_is_taken(wanted: Request) -> None:
    async with playing(heard=False) as play:
        answer = await ask(play, wanted)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert await play.rules() == []
        assert await play.count("calls", provider="truora", operation=TAKEN[wanted.name]) == 1
        assert await play.count("truora/sessions") == (1 if wanted in SENDS else 0)


@pytest.mark.parametrize("wanted", ALL, ids=lambda wanted: wanted.name)
async def test_without_the_right_key_nothing_is_taken_and_the_refusal_is_the_vectors(wanted: Request) -> None:
    status, _, body = response("response-error-401-bad-key", "truora")
    async with playing(heard=False) as play:
        for key in (None, "test-truora-api-ke", "TEST-TRUORA-API-KEY", "Bearer test-truora-api-key", ""):
            headers = {name: value for name, value in wanted.headers.items() if name != "Truora-API-Key"}
            if key is not None:
                headers["Truora-API-Key"] = key
            answer = await ask(play, wanted, headers=headers)
            assert (answer.status_code, answer.json()) == (status, body)
        assert set(await play.rules()) == {"authentication"}
        assert await play.count("truora/sessions") == 0


@pytest.mark.parametrize("wanted", SENDS, ids=lambda wanted: wanted.name)
async def test_only_a_form_is_taken(wanted: Request) -> None:
    async with playing(heard=False) as play:
        for media_type in ("application/json", "multipart/form-data; boundary=x", "text/plain", ""):
            answer = await ask(play, wanted, headers={**wanted.headers, "Content-Type": media_type})
            assert (answer.status_code, answer.content) == (415, b"")
        assert await play.rules() == ["content-type"] * 4
        named = {**wanted.headers, "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        assert (await ask(play, wanted, headers=named)).status_code == 200


@pytest.mark.parametrize("name", [SEND, NOTIFY])
async def test_a_missing_repeated_empty_or_unknown_field_is_refused(name: str) -> None:
    wanted, pairs = request(name, "truora"), pairs_of(name)
    async with playing(heard=False) as play:
        for field, value in pairs:
            lacking = await ask(play, wanted, body=urlencode([pair for pair in pairs if pair[0] != field]))
            assert (lacking.status_code, lacking.json()["message"]) == (400, f"{field} is required")
            for again in (value, "other"):
                repeated = await ask(play, wanted, body=urlencode([*pairs, (field, again)]))
                assert repeated.status_code == 400
                assert f"{field} is given 2 times" in repeated.json()["message"]
            empty = await ask(play, wanted, body=changed(pairs, **{field: ""}))
            assert empty.status_code == 400
            blank_behind = [(f"{key} " if key == field else key, given) for key, given in pairs]
            assert (await ask(play, wanted, body=urlencode(blank_behind))).status_code == 400
        extra = await ask(play, wanted, body=changed(pairs, priority="high"))
        assert extra.json()["message"] == "priority is not a field of this request"
        assert await play.count("truora/sessions") == 0


async def test_a_missing_flow_is_refused_word_for_word() -> None:
    status, headers, body = response("response-error-400-missing-field", "truora")
    async with playing(heard=False) as play:
        answer = await ask(play, request(SEND, "truora"), body=changed(pairs_of(SEND), flow_id=None))
        assert (answer.status_code, answer.json()) == (status, body)
        assert answer.headers["content-type"] == headers["Content-Type"]
        assert await play.rules() == ["missing-flow"]


REFUSED: list[tuple[str, dict[str, str | None], int, str]] = [
    ("not authorized", {"user_authorized": "false"}, 400, "not-authorized"),
    ("authorized in capitals", {"user_authorized": "True"}, 400, "not-authorized"),
    ("authorized as a number", {"user_authorized": "1"}, 400, "not-authorized"),
    ("number with plus", {"phone_number": "+573140000001"}, 400, "phone-plus"),
    ("number with blanks", {"phone_number": "314 000 0001"}, 400, "phone-blank"),
    ("number with hyphens", {"phone_number": "314-000-0001"}, 400, "phone-digits"),
    ("number with country code", {"phone_number": "573140000001"}, 400, "phone-country-code"),
    ("Dutch number with code", {"country_code": "+31", "phone_number": "31612345678"}, 400, "phone-country-code"),
    ("American number with code", {"country_code": "+1", "phone_number": "12125550100"}, 400, "phone-country-code"),
    ("number with a trunk zero", {"country_code": "+31", "phone_number": "0612345678"}, 400, "phone-number"),
    ("number too long", {"phone_number": "31400000011234567"}, 400, "phone-number"),
    ("plus not encoded", {"country_code": " 57"}, 400, "country-code-blank"),
    ("country code without plus", {"country_code": "57"}, 400, "country-code"),
    ("country code of nobody", {"country_code": "+999"}, 400, "country-code"),
    ("country's letters", {"country_code": "CO"}, 400, "country-code"),
    ("outbound unknown", {"outbound_id": "OTB9"}, 404, "unknown-outbound"),
    ("outbound pending", {"outbound_id": PENDING, "var.name": None, "var.lastname": None}, 400, "not-approved"),
    ("flow unknown", {"flow_id": "IPF9"}, 400, "unknown-flow"),
    ("flow missing", {"flow_id": None}, 400, "missing-flow"),
    ("variable missing", {"var.lastname": None}, 400, "missing-variable"),
    ("variable unknown", {"var.city": "Cali"}, 400, "unknown-variable"),
    ("variable without its dot", {"varname": "Ada"}, 400, "unknown-field"),
    ("account id with a blank", {"account_id": "att 1"}, 400, "account-id"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "status", "rule"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_a_send_that_breaks_one_rule_is_refused_by_that_rule(
    values: dict[str, str | None], status: int, rule: str
) -> None:
    async with playing() as play:
        answer = await ask(play, request(SEND, "truora"), body=changed(pairs_of(SEND), **values))
        body = answer.json()
        assert (answer.status_code, set(body)) == (status, {"code", "http_code", "message"})
        assert (body["code"], body["http_code"]) == (10000 + status, status)
        assert await play.rules() == [rule]
        await play.advance(days=2)
        assert (play.tokens.hooks, await play.count("phones")) == ([], 0)
        assert (await ask(play, request(SEND, "truora"))).status_code == 200


async def test_all_mistakes_are_named_at_once() -> None:
    async with playing(heard=False) as play:
        body = changed(pairs_of(SEND), flow_id=None, user_authorized="no", country_code=" 57", outbound_id=PENDING)
        answer = await ask(play, request(SEND, "truora"), body=body)
        assert answer.status_code == 400
        assert sorted(await play.rules()) == [
            "country-code-blank",
            "missing-flow",
            "not-approved",
            "not-authorized",
            "unknown-variable",
            "unknown-variable",
        ]


@pytest.mark.parametrize(
    "body", ["phone_number", "a=%zz", "a=%", "a=ü".encode(), b"a=%FF", "a=1&&b=2", "a=1\n", "a b=1"]
)
async def test_what_is_no_form_is_refused(body: str | bytes) -> None:
    async with playing(heard=False) as play:
        assert (await ask(play, request(SEND, "truora"), body=body)).status_code == 400
        assert await play.rules() == ["form"]


async def test_a_plus_that_was_not_encoded_arrives_as_a_blank() -> None:
    wanted = request(SEND, "truora")
    assert wanted.body is not None
    async with playing(heard=False) as play:
        assert (await ask(play, wanted, body=wanted.body.replace("%2B", "+"))).status_code == 400
        assert await play.rules() == ["country-code-blank"]


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ({}, "missing-line"),
        ({"line": ""}, "missing-line"),
        ({"line": "+15550100000"}, "line"),
        ({"line": " 15550100000"}, "line"),
        ({"line": "1 555 010 0000"}, "line"),
        ({"line": "15550100000", "page": "2"}, "unknown-parameter"),
    ],
)
async def test_a_list_needs_a_line_of_digits(query: dict[str, str], rule: str) -> None:
    async with playing(heard=False) as play:
        answer = await ask(play, request("request-outbounds-list", "truora"), query=query)
        assert (answer.status_code, await play.rules()) == (400, [rule])
        assert set(answer.json()) == {"code", "http_code", "message"}


async def test_a_list_is_the_bare_array_of_the_vector_and_knows_its_line() -> None:
    expected = part(vector("response-outbounds-list-bare-array", "truora"), "response")["json"]
    async with playing(heard=False) as play:
        assert (await ask(play, request("request-outbounds-list", "truora"))).json() == expected
        other = (await play.api.get("whatsapp/outbounds", params={"line": OTHER_LINE})).json()
        assert [found["outbound_id"] for found in other] == [NOTIFICATION, PENDING]
        twice = await play.api.get("whatsapp/outbounds", params=[("line", OTHER_LINE), ("line", OTHER_LINE)])
        assert twice.status_code == 400
        assert (await play.api.get("whatsapp/outbounds", params={"line": "4915112345678"})).json() == []


async def test_an_outbound_is_read_as_in_the_vectors() -> None:
    _, _, approved = response("response-outbound-approved", "truora")
    _, _, notification = response("response-outbound-notification", "truora")
    status, _, unknown = response("response-error-404-outbound", "truora")
    async with playing(heard=False) as play:
        assert (await ask(play, request("request-outbound-get", "truora"))).json() == approved
        read = (await play.api.get(f"whatsapp/outbounds/{NOTIFICATION}")).json()
        assert read == {**notification, "waba_phone_number": f"+{OTHER_LINE}"}
        gone = await play.api.get("whatsapp/outbounds/OTB9")
        assert (gone.status_code, gone.json()) == (status, unknown)


async def test_outbounds_that_cannot_be_sent_look_like_the_vectors() -> None:
    cases = part(vector("response-outbound-not-sendable", "truora"), "response")["cases"]
    assert isinstance(cases, list)
    async with playing(heard=False) as play:
        for case in map(at, cases):
            body = json.loads(str(case["body"]))
            status, reason = body["outbound_status"], body["failure_reason"]
            await play.tell(f"truora/outbounds/{OUTBOUND}", status=status, reason=reason)
            read = (await ask(play, request("request-outbound-get", "truora"))).json()
            assert {name: value for name, value in read.items() if name != "media_url"} == body
            assert (await play.send()).json()["message"] == "outbound is not approved"


async def test_a_started_conversation_is_answered_as_in_the_vector() -> None:
    status, headers, expected = response("response-send-started", "truora")
    async with playing(heard=False) as play:
        answer = await ask(play, request(SEND, "truora"))
        body = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (status, headers["Content-Type"])
        assert body["session_id"].startswith("WDIS")
        assert body == {**expected, "session_id": body["session_id"]}
        notified = (await ask(play, request(NOTIFY, "truora"))).json()
        assert set(notified) == set(expected) - {"flow_id"}
        assert notified["session_id"] != body["session_id"]


async def test_throttling_looks_like_the_vector() -> None:
    status, headers, expected = response("response-error-429-retry-after", "truora")
    async with playing(heard=False) as play:
        await play.fault("throttle", "outbound-send", options={"retry_after": 45, "as_date": True})
        answer = await ask(play, request(SEND, "truora"))
        assert (answer.status_code, answer.json()) == (status, expected)
        assert {name: answer.headers[name] for name in headers} == headers
        assert await play.count("truora/sessions") == 0


# -- hooks

EVENTS = {
    "webhook-before-send-answer": {("whatsapp_outbound", "started")},
    "webhook-process-started": {("whatsapp_process", "started")},
    "webhook-process-succeeded": {("whatsapp_process", "succeeded")},
    "webhook-process-failed": {("whatsapp_process", "failed")},
    "webhook-process-succeeded-alias-names": {("whatsapp_process", "success")},
    "webhook-batched-multiple-events": {("whatsapp_outbound", "approved"), ("whatsapp_process", "started")},
    "webhook-outbound-canceled-and-session-expired": {
        ("whatsapp_outbound", "canceled"),
        ("whatsapp_session", "expired"),
    },
}
"""The known events of the vectors that the sandbox can bring about."""
ALIASES = "webhook-process-succeeded-alias-names"


def words(event: JsonObject) -> tuple[str, str]:
    return str(event["event_type"]), str(event["event_action"])


def samples(name: str) -> dict[tuple[str, str], JsonObject]:
    payload = part(vector(name, "truora"), "webhook", "deliveries", 0, "decoded_payload")
    events = payload["events"]
    assert isinstance(events, list)
    return {words(event): event for event in events if isinstance(event, dict) and event["event_type"] != "check"}


def test_every_hook_vector_of_known_events_has_its_place_in_these_tests() -> None:
    folder = Path(__file__).parent / "vectors" / "truora"
    about_clients = {"malformed", "replayed-and-reordered", "unknown-event", "wrong-signature"}
    names = {path.stem for path in folder.glob("webhook-*.json")}
    assert names - {f"webhook-{name}" for name in about_clients} == set(EVENTS)


@pytest.mark.parametrize("name", EVENTS)
async def test_hooks_have_the_shape_of_the_vectors(name: str) -> None:
    aliases = name == ALIASES
    chosen = account(alias_names=aliases, names_session=not aliases, tells_variables=not aliases)
    async with playing(settings(chosen)) as play:
        await play.persona("573140000003", "declines", by_button=True)
        for phone in ("3140000001", "3140000003", "3140000094"):
            await play.open(phone, account_id="att_1")
        await play.advance(days=2)
        found = {words(event): event for event in play.tokens.events}
        for wanted, sample in samples(name).items():
            ours, theirs = found[wanted], dict(sample)
            # aliases may stand for the phone number as well; the one vector of them names it as documented
            if aliases:
                theirs["object"] = {
                    "user_phone_number" if member == "phone_number" else member: value
                    for member, value in at(theirs, "object").items()
                }
            assert shape(ours) == shape(theirs)
            assert at(ours, "object")["status"] == at(theirs, "object")["status"]
        assert EVENTS[name] == set(samples(name))
        envelope = part(vector(name, "truora"), "webhook", "deliveries", 0, "decoded_payload")
        assert all(set(hook.body) == set(envelope) for hook in play.tokens.hooks)


async def test_a_token_is_signed_like_the_vectors_and_with_no_other_key() -> None:
    sample = part(vector("webhook-process-succeeded", "truora"), "webhook", "deliveries", 0)["body"]
    async with playing() as play:
        await ask(play, request(SEND, "truora"))
        await play.advance(minutes=1)
        assert len(play.tokens.raw) == 4
        for raw in play.tokens.raw:
            assert jwt.get_unverified_header(raw) == jwt.get_unverified_header(str(sample))
            assert raw.count(b".") == 2
            for key in ("another-signing-key-0123456789-0123456789", SIGNING_KEY.upper()):
                with pytest.raises(jwt.InvalidSignatureError):
                    jwt.decode(raw, key, algorithms=["HS256"], options={"verify_iat": False})


async def test_text_beyond_ascii_travels_as_utf8_in_both_directions() -> None:
    async with playing() as play:
        await ask(play, request(SEND, "truora"))
        await play.advance(minutes=1)
        messages = (await play.ask(f"phones/{NUMBER}"))["messages"]
        assert isinstance(messages, list)
        assert at(messages[0])["text"] == "Hi Ana & José Pérez! Select “Continue” to start."
        assert at(events_of(play.tokens.hooks[-1])[0], "object", "variables")["city"] == "Bogotá"


async def test_a_process_can_be_read_where_the_account_has_it() -> None:
    async with playing() as play:
        await play.open()
        await play.advance(seconds=1)
        process = at(play.tokens.events[0], "object")["process_id"]
        assert (await play.api.get(f"processes/{process}/result")).json()["status"] == "pending"
        await play.advance(minutes=1)
        read = (await play.api.get(f"processes/{process}/result")).json()
        assert (read["process_id"], read["flow_id"], read["status"]) == (process, FLOW, "success")
        assert (await play.api.get("processes/IDP9/result")).status_code == 404
    async with playing(settings(account(reads_processes=False)), heard=False) as play:
        await play.send(form())
        processes = (await play.ask("truora/sessions"))["sessions"]
        assert isinstance(processes, list)
        gone = await play.api.get(f"processes/{at(processes[0])['process']}/result")
        assert (gone.status_code, await play.rules()) == (404, ["unknown-path"])
