"""The other sides do what they are compared for."""

import asyncio
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from bench.ground import ceiling
from bench.webhooks import HEADERS, PATH, Talk, finished, mixed, status, text
from bench.whole_life import samples_life
from domain.events import FlowRunChanged, MessageStatusChanged, TextReceived
from providers.recrubo.settings import RecruboSettings
from providers.recrubo.webhook import RecruboWebhookReader
from runtime.dev_server import DevServer

TALK = Talk("engagement:acme:r", "thr_1", "run_1")


def test_the_load_is_made_of_webhooks_that_the_gateway_understands() -> None:
    reader = RecruboWebhookReader("recrubo", (SecretStr(HEADERS["x-recrubo-webhook-secret"]),), RecruboSettings())
    for body, kind in (
        (status(TALK, "m-1", "delivered"), MessageStatusChanged),
        (text(TALK, "m-2"), TextReceived),
        (finished(TALK), FlowRunChanged),
    ):
        reader.verify(body, HEADERS)
        (event,) = reader.parse(body).events
        assert isinstance(event.body, kind)
        assert event.ties.thread_id == "thr_1"


def test_nothing_in_the_load_comes_twice() -> None:
    reader = RecruboWebhookReader("recrubo", (SecretStr(HEADERS["x-recrubo-webhook-secret"]),), RecruboSettings())
    endless = mixed([TALK, Talk("engagement:acme:s", "thr_2", "run_2")], "x")
    keys = [reader.parse(next(endless)).events[0].key for _ in range(100)]
    assert len(set(keys)) == 100


async def test_the_ceiling_answers_what_is_authentic_and_refuses_the_rest(tmp_path: Path) -> None:
    with await asyncio.to_thread(lambda: ceiling(tmp_path)) as receiver:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{receiver.port}", trust_env=False) as client:
            kept = await client.post(PATH, content=text(TALK, "m"), headers=HEADERS)
            refused = await client.post(
                PATH, content=text(TALK, "m"), headers={**HEADERS, "x-recrubo-webhook-secret": "x"}
            )
    assert (kept.status_code, refused.status_code) == (200, 401)


@pytest.mark.server
@pytest.mark.long
async def test_a_samples_style_engagement_lives_to_its_end(tmp_path: Path) -> None:
    async with await DevServer.start() as temporal:
        events = await samples_life(tmp_path, temporal.address)
    assert events[-1]["eventType"] == "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"
