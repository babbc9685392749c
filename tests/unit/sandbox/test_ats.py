"""The recruiter's system: takes what is signed rightly, refuses the rest, and has bad days too."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.unit.sandbox.playground import ATS_SECRET, Play, at, playing

BODY = json.dumps({"type": "engagement.closed", "reference": "c-1"}, indent=1)


def signed(webhook_id: str = "msg_1", *, body: str = BODY, secret: str = ATS_SECRET, age: int = 0) -> dict[str, str]:
    instant = datetime.now(UTC) - timedelta(seconds=age)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(instant.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, instant.replace(microsecond=0), body),
    }


async def deliver(play: Play, headers: dict[str, str], body: str = BODY, tenant: str = "demo") -> httpx.Response:
    return await play.control.post(f"{play.url}/ats/{tenant}", headers=headers, content=body)


async def test_a_rightly_signed_delivery_is_kept_and_a_repeat_is_known_as_one() -> None:
    async with playing(told=False) as play:
        assert (await deliver(play, signed())).status_code == 204
        assert (await deliver(play, signed())).status_code == 204
        heard = await play.ask("ats", tenant="demo")
        assert isinstance(heard["deliveries"], list)
        assert [at(one)["repeat"] for one in heard["deliveries"]] == [False, True]
        assert at(heard["deliveries"][0], "body") == json.loads(BODY)
        assert await play.count("ats", tenant="other") == 0
        await play.control.delete("ats")
        assert await play.count("ats") == 0


async def test_one_right_signature_among_several_is_enough() -> None:
    async with playing(told=False) as play:
        headers = signed()
        headers["webhook-signature"] = f"v1a,xx v1,AAAA v1,!! {headers['webhook-signature']}"
        assert (await deliver(play, headers)).status_code == 204


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (lambda: {"webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()}, "signature"),
        (lambda: {"webhook-signature": ""}, "header-missing"),
        (lambda: {"webhook-id": "msg_2"}, "signature"),
        (lambda: {"webhook-timestamp": "yesterday"}, "timestamp"),
        (lambda: signed(age=301), "timestamp-tolerance"),
        (lambda: signed(age=-302), "timestamp-tolerance"),
        (lambda: signed(secret="whsec_" + base64.b64encode(b"another").decode()), "signature"),
        (lambda: signed(body="{}"), "signature"),
    ],
)
async def test_what_is_not_authentic_is_refused_and_not_kept(changes: Callable[[], dict[str, str]], rule: str) -> None:
    async with playing(told=False) as play:
        assert (await deliver(play, {**signed(), **changes()})).status_code == 401
        assert (await play.rules(), await play.count("ats")) == ([rule], 0)


async def test_nobody_listens_at_an_unknown_tenant() -> None:
    async with playing(told=False) as play:
        assert (await deliver(play, signed(), tenant="other")).status_code == 404


@pytest.mark.parametrize(("kind", "kept"), [("error-before", 0), ("error-after", 1)])
async def test_the_recruiters_system_can_fail(kind: str, kept: int) -> None:
    async with playing(told=False) as play:
        await play.fault(kind, "deliver", provider="ats", account="demo", options={"status": 503})
        assert (await deliver(play, signed())).status_code == 503
        assert await play.count("ats") == kept
        assert (await deliver(play, signed())).status_code == 204
        assert await play.count("calls", provider="ats") == 2
