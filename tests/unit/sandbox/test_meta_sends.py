"""What Meta refuses about a send, by rule and code; and what a refused send leaves behind: nothing."""

import json
from collections.abc import Callable

import pytest
from pydantic import JsonValue, SecretStr

from sandbox.meta.settings import MetaFlow, MetaLine, MetaTemplate, PairLimit
from tests.unit.sandbox.meta_playground import (
    FLOW,
    FLOW_TOKEN,
    LINE,
    LINE_NUMBER,
    NUMBER,
    PLAIN,
    SCREEN,
    SECOND_LINE,
    TEMPLATES,
    MetaPlay,
    account,
    flow_message,
    message_id,
    playing_meta,
    refused,
    template_message,
)
from tests.unit.sandbox.playground import JsonObject, at

Change = Callable[[JsonObject], None]


def button(message: JsonObject) -> JsonObject:
    components = at(message, "template")["components"]
    assert isinstance(components, list)
    return at(components[-1])


def setting(path: str, value: JsonValue) -> Change:
    """Put a value at a path of the document; None takes the member away."""

    def change(document: JsonObject) -> None:
        *before, last = path.split("/")
        owner = at(document, *before)
        if value is None:
            del owner[last]
        else:
            owner[last] = value

    return change


def on_button(name: str, value: JsonValue) -> Change:
    return lambda document: setting(name, value)(button(document))


PARAMETER: JsonObject = {"type": "action", "action": {"flow_token": FLOW_TOKEN}}
PARAMETERS = "interactive/action/parameters"

TEMPLATE_RULES: list[tuple[str, Change, int, int]] = [
    ("unknown name", setting("template/name", "intake_v9"), 404, 132001),
    ("another language", setting("template/language", {"code": "en"}), 404, 132001),
    ("no button component", setting("template/components", []), 400, 131009),
    ("no components at all", setting("template/components", None), 400, 131009),
    ("numeric index", on_button("index", 0), 400, 131009),
    ("wrong index", on_button("index", "1"), 400, 131009),
    ("index is missing", on_button("index", None), 400, 131008),
    ("another sub_type", on_button("sub_type", "url"), 400, 131009),
    ("no parameter", on_button("parameters", []), 400, 131009),
    ("two parameters", on_button("parameters", [PARAMETER, PARAMETER]), 400, 131009),
    (
        "data is no object",
        on_button("parameters", [{"type": "action", "action": {"flow_action_data": "Ada"}}]),
        400,
        131009,
    ),
    ("unknown component", on_button("type", "carousel"), 400, 131009),
    ("a number as to", setting("to", 15550100001), 400, 131009),
    ("a plus in to", setting("to", "+15550100001"), 400, 131009),
    ("to oneself", setting("to", LINE_NUMBER), 400, 131021),
    ("another product", setting("messaging_product", "sms"), 400, 131009),
    ("to a group", setting("recipient_type", "group"), 400, 131009),
    ("another type", setting("type", "image"), 400, 131009),
    ("a type without its content", setting("type", "interactive"), 400, 131009),
    ("no content", setting("template", None), 400, 131008),
    ("a long reference", setting("biz_opaque_callback_data", "x" * 513), 400, 131009),
]


@pytest.mark.parametrize(
    ("change", "status", "code"), [r[1:] for r in TEMPLATE_RULES], ids=[r[0] for r in TEMPLATE_RULES]
)
async def test_a_wrong_template_message_is_refused(change: Change, status: int, code: int) -> None:
    async with playing_meta() as play:
        message = template_message()
        change(message)
        assert refused(await play.send(message)) == (status, code, None)
        await nothing_left(play)


async def nothing_left(play: MetaPlay) -> None:
    await play.advance(days=1)
    assert play.meta.told == []
    assert await play.count("phones") == await play.count("phones", arrived=False) == 0
    assert await play.count("meta/messages") == 0


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ([], 132000),
        ([{"type": "text", "text": "Ada"}, {"type": "text", "text": "Lovelace"}], 132000),
        ([{"type": "text", "text": "Ada", "parameter_name": "first_name"}], 132012),
        ([{"type": "text", "text": ""}], 131009),
        ([{"type": "text"}], 131008),
        ([{"type": "currency", "text": "Ada"}], 131009),
        ([{"type": "text", "text": "Ada\nLovelace"}], 132018),
        ([{"type": "text", "text": "A" * 1100}], 132005),
        (None, 132000),
    ],
)
async def test_the_body_takes_exactly_its_variables(parameters: JsonValue, code: int) -> None:
    async with playing_meta() as play:
        message = template_message("intake_v2")
        if parameters is not None:
            body: JsonValue = {"type": "body", "parameters": parameters}
            at(message, "template")["components"] = [body, button(message)]
        assert refused(await play.send(message)) == (400, code, None)
        await nothing_left(play)


async def test_named_variables_are_filled_by_name() -> None:
    named = MetaTemplate(
        id="1689550000000005", name="named_v1", parameter_format="NAMED", body="Hi {{first}}, it is {{city}}"
    )
    async with playing_meta(account(templates=(named,))) as play:
        message = template_message("named_v1")
        values: list[JsonValue] = [
            {"type": "text", "parameter_name": "city", "text": "Quito"},
            {"type": "text", "parameter_name": "first", "text": "Ada"},
        ]
        at(message, "template")["components"] = [{"type": "body", "parameters": values}]
        message_id(await play.send(message))
        await play.advance(seconds=1)
        assert (await play.ask("phones"))["messages"][0]["text"] == "Hi Ada, it is Quito"  # type: ignore[index,call-overload] # JSON
        at(message, "template")["components"] = [{"type": "body", "parameters": [values[0], values[0]]}]
        assert refused(await play.send(message)) == (400, 132012, None)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("PENDING", (404, 132001)),
        ("REJECTED", (404, 132001)),
        ("PAUSED", (400, 132015)),
        ("DISABLED", (400, 132016)),
        ("IN_APPEAL", (404, 132001)),
        ("BRAND_NEW", (404, 132001)),
    ],
)
async def test_only_an_approved_template_goes_out(status: str, expected: tuple[int, int]) -> None:
    async with playing_meta(told=False) as play:
        await play.tell(f"meta/templates/{PLAIN}", status=status)
        assert refused(await play.send(template_message()))[:2] == expected
        await play.tell(f"meta/templates/{PLAIN}", event="FLAGGED")
        assert refused(await play.send(template_message()))[:2] == expected
        await play.tell(f"meta/templates/{PLAIN}", status="APPROVED")
        await play.tell(f"meta/templates/{PLAIN}", event="FLAGGED")
        message_id(await play.send(template_message()))


INTERACTIVE_RULES: list[tuple[str, Change, int]] = [
    ("version is a number", setting(f"{PARAMETERS}/flow_message_version", 3), 131009),
    ("another version", setting(f"{PARAMETERS}/flow_message_version", "4"), 131009),
    ("no version", setting(f"{PARAMETERS}/flow_message_version", None), 131008),
    ("another mode", setting(f"{PARAMETERS}/mode", "live"), 131009),
    ("id and name", setting(f"{PARAMETERS}/flow_name", "intake_flow"), 131009),
    ("neither id nor name", setting(f"{PARAMETERS}/flow_id", None), 131009),
    ("unknown flow", setting(f"{PARAMETERS}/flow_id", "900000000000009"), 131009),
    ("a long button", setting(f"{PARAMETERS}/flow_cta", "x" * 31), 131009),
    ("an emoji", setting(f"{PARAMETERS}/flow_cta", "Go 🚀"), 131009),
    ("no button", setting(f"{PARAMETERS}/flow_cta", None), 131008),
    ("empty data", setting(f"{PARAMETERS}/flow_action_payload", {"screen": SCREEN, "data": {}}), 131009),
    ("unknown screen", setting(f"{PARAMETERS}/flow_action_payload", {"screen": "NOWHERE"}), 131009),
    ("payload with data_exchange", setting(f"{PARAMETERS}/flow_action", "data_exchange"), 131009),
    ("another action", setting(f"{PARAMETERS}/flow_action", "open"), 131009),
    ("a flow_json", setting(f"{PARAMETERS}/flow_json", "{}"), 100),
    ("no parameters", setting("interactive/action", {"name": "flow"}), 131008),
    ("no action", setting("interactive/action", None), 131008),
    ("another action name", setting("interactive/action/name", "galaxy"), 131009),
    ("another interactive", setting("interactive/type", "list"), 131009),
    ("no interactive type", setting("interactive/type", None), 131008),
    ("no body", setting("interactive/body", None), 131008),
    ("a long body", setting("interactive/body", {"text": "x" * 1025}), 131009),
    ("a long header", setting("interactive/header", {"type": "text", "text": "x" * 61}), 131009),
    ("a header of another type", setting("interactive/header", {"type": "image", "text": "x"}), 131009),
    ("a long footer", setting("interactive/footer", {"text": "x" * 61}), 131009),
]


@pytest.mark.parametrize(("change", "code"), [r[1:] for r in INTERACTIVE_RULES], ids=[r[0] for r in INTERACTIVE_RULES])
async def test_a_wrong_flow_message_is_refused(change: Change, code: int) -> None:
    async with playing_meta(told=False) as play:
        await play.write()
        message = flow_message()
        change(message)
        assert refused(await play.send(message)) == (400, code, None)
        assert await play.count("meta/messages") == 0
        message_id(await play.send(flow_message()))


async def test_a_draft_goes_out_only_as_a_draft() -> None:
    draft = MetaFlow(id=FLOW, name="intake_flow", status="DRAFT")
    async with playing_meta(account(flows=(draft,), templates=()), told=False) as play:
        await play.write()
        assert refused(await play.send(flow_message())) == (400, 131009, None)
        assert (await play.reasons())[0][0] == "flow-not-published"
        message_id(await play.send(flow_message(mode="draft")))


async def test_data_exchange_needs_a_flow_with_an_endpoint() -> None:
    message = flow_message(flow_action="data_exchange", flow_action_payload=None)
    async with playing_meta(told=False) as play:
        await play.write()
        assert refused(await play.send(message)) == (400, 131009, None)
    with_endpoint = MetaFlow(id=FLOW, name="intake_flow", endpoint=True)
    async with playing_meta(account(flows=(with_endpoint,)), told=False) as play:
        await play.write()
        message_id(await play.send(message))


async def test_a_blocked_flow_is_refused_and_a_throttled_one_goes_out_ten_times_an_hour() -> None:
    async with playing_meta(told=False) as play:
        await play.tell(f"meta/flows/{FLOW}", status="BLOCKED")
        assert refused(await play.send(template_message())) == (400, 132068, None)
        await play.tell(f"meta/flows/{FLOW}", status="THROTTLED")
        for _ in range(10):
            message_id(await play.send(template_message()))
        assert refused(await play.send(template_message())) == (429, 132069, None)
        await play.advance(hours=1)
        message_id(await play.send(template_message()))


# -- the recipient


async def test_the_window_is_open_for_a_day_after_each_message_of_the_candidate() -> None:
    async with playing_meta(told=False) as play:
        assert refused(await play.send(flow_message())) == (400, 131047, None)
        await play.persona(NUMBER, "silent")
        await play.write()
        await play.advance(hours=23, minutes=59)
        message_id(await play.send(flow_message()))
        await play.advance(minutes=1)
        assert refused(await play.send(flow_message())) == (400, 131047, None)
        assert refused(await play.send({**flow_message(), "type": "text"})) == (400, 131009, None)
        await play.write()
        message_id(await play.send(flow_message()))
        assert refused(await play.send(flow_message(), SECOND_LINE)) == (400, 131047, None)
        text: JsonObject = {"messaging_product": "whatsapp", "to": NUMBER, "type": "text", "text": {"body": "Hi"}}
        message_id(await play.send(text))
        message_id(await play.send(template_message(), SECOND_LINE))


@pytest.mark.parametrize("number", [NUMBER, "15550100094"])
async def test_what_a_recipient_cannot_take_is_refused_at_once_or_fails_later(number: str) -> None:
    code = 131026 if number != NUMBER else 131047
    at_once = account(undeliverable="at-once", window_closed="at-once")
    async with playing_meta(at_once) as play:
        assert refused(await play.send(flow_message(to=number))) == (400, code, None)
        await nothing_left(play)
    later = account(undeliverable="as-failed", window_closed="as-failed")
    async with playing_meta(later) as play:
        sent = message_id(await play.send(flow_message(to=number)))
        await play.advance(days=1)
        assert play.meta.words == ["failed"]
        [failed] = play.meta.values("failed")
        assert failed["errors"][0]["code"] == code  # type: ignore[index,call-overload] # JSON
        assert failed["id"] == sent


@pytest.mark.parametrize("moment", ["at-once", "as-failed"])
async def test_who_stopped_marketing_still_gets_utility_templates(moment: str) -> None:
    useful = TEMPLATES[0].model_copy(update={"id": "1689550000000007", "name": "useful_v1", "category": "UTILITY"})
    async with playing_meta(account(templates=(*TEMPLATES, useful), marketing_stopped=moment)) as play:
        await play.tell("meta/preferences", number=NUMBER, value="stop")
        answer = await play.send(template_message())
        if moment == "at-once":
            assert refused(answer) == (400, 131050, None)
        else:
            message_id(answer)
            await play.advance(seconds=1)
            assert play.meta.values("failed")[0]["errors"][0]["code"] == 131050  # type: ignore[index,call-overload] # JSON
        message_id(await play.send(template_message("useful_v1")))
        await play.tell("meta/preferences", number=NUMBER, value="resume")
        message_id(await play.send(template_message()))


# -- rates


@pytest.mark.parametrize("status", [400, 403, 429])
async def test_a_line_sends_so_many_messages_a_second(status: int) -> None:
    line = MetaLine(phone_number_id=LINE, display_number=LINE_NUMBER, rate=2)
    other = MetaLine(phone_number_id=SECOND_LINE, display_number="15550100009", rate=2)
    async with playing_meta(account(lines=(line, other), throttle_status=status), told=False) as play:
        for last in (1, 2):
            message_id(await play.send(template_message(to=f"1555010000{last}")))
        over = await play.send(template_message(to="15550100003"))
        assert refused(over) == (status, 130429, None)
        assert over.headers["retry-after"] == "1"
        message_id(await play.send(template_message(to="15550100003"), SECOND_LINE))
        await play.advance(seconds=1)
        message_id(await play.send(template_message(to="15550100003")))


async def test_a_pair_has_credit_that_comes_back() -> None:
    limit = PairLimit(burst=3, every=6)
    line = MetaLine(phone_number_id=LINE, display_number=LINE_NUMBER, pair_limit=limit)
    async with playing_meta(account(lines=(line,)), told=False) as play:
        for _ in range(3):
            message_id(await play.send(template_message()))
        assert refused(await play.send(template_message())) == (429, 131056, None)
        message_id(await play.send(template_message(to="15550100002")))
        await play.advance(seconds=5)
        assert refused(await play.send(template_message())) == (429, 131056, None)
        await play.advance(seconds=1)
        message_id(await play.send(template_message()))
        assert refused(await play.send(template_message())) == (429, 131056, None)


# -- held back, and other accounts


async def test_a_message_can_be_taken_and_held_back() -> None:
    async with playing_meta() as play:
        for then, last in (("sent", "sent"), ("failed", "failed")):
            await play.persona(NUMBER, "silent")
            await play.tell(f"meta/templates/{PLAIN}/holding", message_status="held_for_quality_assessment")
            answer = await play.send(template_message())
            assert answer.json()["messages"][0]["message_status"] == "held_for_quality_assessment"
            before = len(play.meta.words)
            await play.advance(days=1)
            assert len(play.meta.words) == before
            await play.tell(f"meta/templates/{PLAIN}/holding", message_status=None, then=then)
            assert play.meta.words[before:] == [last]
            await play.advance(days=1)


async def test_a_number_or_account_that_is_not_the_tokens_own_is_unknown() -> None:
    other = account(
        name="other",
        token=SecretStr("other-token"),
        waba_id="102290000000002",
        lines=(MetaLine(phone_number_id="106540000000008", display_number="15550100008"),),
        templates=(),
    )
    async with playing_meta(account(), other, told=False) as play:
        for path in ("106540000000008/messages", "15550100000/messages", "1/messages"):
            answer = await play.api.post(path, content=json.dumps(template_message()))
            assert refused(answer) == (400, 100, 33)
        assert refused(await play.api.get("102290000000002/message_templates")) == (400, 100, 33)
        theirs = {"Authorization": "Bearer other-token"}
        answer = await play.api.post("106540000000008/messages", content=json.dumps(template_message()), headers=theirs)
        assert refused(answer) == (404, 132001, None)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "messages", 2500),
        ("POST", f"{LINE}/message", 2500),
        ("GET", f"{LINE}/messages", 100),
        ("PUT", f"{LINE}/messages", 100),
        ("POST", f"{LINE}/messages/", 2500),
        ("POST", "../v23/1/messages", 2500),
    ],
)
async def test_an_address_of_no_page_is_refused(method: str, path: str, code: int) -> None:
    async with playing_meta(told=False) as play:
        answer = await play.api.request(method, path, content=json.dumps(template_message()))
        # "messages" alone reads as an object's id
        assert refused(answer)[:2] == (400, 100 if path == "messages" else code)
