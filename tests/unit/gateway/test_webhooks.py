"""The webhook listener on a real socket: what is taken, what is refused, and what is answered."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from domain.errors import StoreUnavailable
from domain.events import FormAnswered
from gateway import group_commit, webhooks
from gateway.metrics import GatewayMetrics
from gateway.webhooks import BODY_LIMIT, Door, Message, WebhookApp
from store.inbox import Delivery
from store.inbox_tables import EventState
from store.stores import Stores
from tests.unit.gateway.plain_reader import SECRET, PlainReader
from tests.unit.gateway.world import (
    FOREVER,
    FakeTemporal,
    World,
    event,
    finished,
    now,
    parts_of,
    running,
)


async def test_a_wrong_secret_gets_401_and_leaves_nothing_but_a_count(world: World, temporal: FakeTemporal) -> None:
    async with running(parts_of(world.stores, temporal)) as gateway:
        answer = await gateway.post_raw(b"{}", secret="guessed")
        refused = await gateway.metric("rapport_webhooks_total", account="main", verdict="refused")
        counts = await world.review.counts()
    assert answer.status_code == 401
    assert refused == 1
    assert counts.unread == 0
    assert not any(counts.events.values())


@pytest.mark.parametrize(
    "path", ["/", "/webhooks", "/webhooks/plain/nobody", "/webhooks/other/main", "/webhooks/plain/main/more"]
)
async def test_what_is_no_account_of_ours_is_not_found(stores: Stores, temporal: FakeTemporal, path: str) -> None:
    async with running(parts_of(stores, temporal)) as gateway:
        answer = await gateway.client.post(gateway.webhooks + path, content=b"{}", headers={"x-secret": SECRET})
    assert answer.status_code == 404


async def test_other_methods_are_refused_with_those_that_are_allowed(stores: Stores, temporal: FakeTemporal) -> None:
    async with running(parts_of(stores, temporal)) as gateway:
        answer = await gateway.client.put(f"{gateway.webhooks}/webhooks/plain/main", content=b"{}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


async def test_a_handshake_answers_the_challenge_as_plain_text_that_no_browser_interprets(
    stores: Stores, temporal: FakeTemporal
) -> None:
    challenge = "<script>1158201444</script>"
    async with running(parts_of(stores, temporal)) as gateway:
        url = f"{gateway.webhooks}/webhooks/plain/main"
        right = await gateway.client.get(url, params={"token": SECRET, "challenge": challenge})
        wrong = await gateway.client.get(url, params={"token": "guessed", "challenge": challenge})
    assert (right.status_code, right.text) == (200, challenge)
    assert right.headers["content-type"].startswith("text/plain")
    assert right.headers["x-content-type-options"] == "nosniff"
    assert (wrong.status_code, wrong.text) == (403, "")


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(
    stores: Stores, temporal: FakeTemporal
) -> None:
    async with running(parts_of(stores, temporal)) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports.webhook_port)
        head = f"POST /webhooks/plain/main HTTP/1.1\r\nhost: x\r\ncontent-length: {BODY_LIMIT + 1}\r\n\r\n"
        writer.write(head.encode())  # and not one byte of the body
        status = await reader.readline()
        await reader.read()  # the connection is closed, not kept for three megabytes more
        writer.close()
        await writer.wait_closed()
    assert b" 413 " in status


async def test_a_body_that_turns_out_too_large_is_refused(stores: Stores, temporal: FakeTemporal) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(1024 * 1024)

    async with running(parts_of(stores, temporal)) as gateway:
        try:
            url = f"{gateway.webhooks}/webhooks/plain/main"
            answer = await gateway.client.post(url, content=chunks(), headers={"x-secret": SECRET})
            assert answer.status_code == 413
        except (httpx.WriteError, httpx.RemoteProtocolError):
            pass  # the connection was closed while we were still sending, which is the point
        counts = await gateway.metric("rapport_webhooks_total", account="main", verdict="too-large")
    assert counts == 1


async def test_the_largest_allowed_body_is_taken(world: World, temporal: FakeTemporal) -> None:
    async with running(parts_of(world.stores, temporal)) as gateway:
        answer = await gateway.post_raw(b" " * BODY_LIMIT)
        await world.until_states({EventState.QUARANTINED: 1})
    assert answer.status_code == 200


async def test_a_store_that_is_down_gets_503_and_nothing_is_half_written(
    world: World, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = await world.sent("a-1", run_id="run-1")
    broken = True
    write = world.stores.database.write

    async def failing(work):  # type: ignore[no-untyped-def]  # stands in for every signature of Database.write
        if not broken:
            return await write(work)

        def torn(connection):  # type: ignore[no-untyped-def]  # stands in for a driver call
            work(connection)
            raise StoreUnavailable("the disk went away before the commit")

        return await write(torn)

    monkeypatch.setattr(world.stores.database, "write", failing)
    async with running(parts_of(world.stores, temporal)) as gateway:
        told = finished("run-1:finished", run_id="run-1")
        refused = await gateway.post(told)
        counts = await world.review.counts()
        broken = False
        taken = await gateway.post(told)
        await temporal.until(lambda: temporal.keys(workflow) == ["run-1:finished"])
    assert (refused.status_code, taken.status_code) == (503, 200)
    assert refused.headers["retry-after"]
    assert counts.unread == 0
    assert not any(counts.events.values())


async def test_a_full_disk_gets_503_until_there_is_room_again_and_nothing_is_half_written(
    world: World, temporal: FakeTemporal
) -> None:
    workflow = await world.sent("a-1", run_id="run-1")
    told = event("run-1:finished", FormAnswered(answers={"story": "x" * 200_000}), run_id="run-1")
    async with running(parts_of(world.stores, temporal)) as gateway:
        await most_pages(world.stores, 1)  # SQLite takes the size that the file has for the least
        full = await gateway.post(told)
        counts = await world.review.counts()
        await most_pages(world.stores, 1_000_000)
        taken = await gateway.post(told)
        await temporal.until(lambda: temporal.keys(workflow) == ["run-1:finished"])
    assert (full.status_code, full.headers["retry-after"], taken.status_code) == (503, "5", 200)
    assert counts.unread == 0
    assert not any(counts.events.values())


async def most_pages(stores: Stores, pages: int) -> None:
    """How large the store's file may grow; beyond that SQLite says that the disk is full."""
    await stores.database.write(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").all())


async def test_many_requests_at_once_are_all_taken(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.sent("a-1", run_id="run-1")
    async with running(parts_of(world.stores, temporal)) as gateway:
        answers = await asyncio.gather(*(gateway.post(finished(f"e-{n}", run_id="run-1")) for n in range(60)))
        await temporal.until(lambda: len(temporal.heard[workflow]) == 60)
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(temporal.keys(workflow)) == sorted(f"e-{n}" for n in range(60))


async def test_under_a_rush_everything_is_taken_and_every_engagement_hears_of_it_once(
    world: World, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "RUSH", 1)  # whatever waits is one, and so it never ends while any does
    workflows = [await world.sent(f"a-{n}", run_id=f"run-{n}") for n in range(4)]
    async with running(parts_of(world.stores, temporal)) as gateway:
        told = [(n, part) for part in range(40) for n in range(4)]
        await asyncio.gather(*(gateway.post(finished(f"e-{n}-{part}", run_id=f"run-{n}")) for n, part in told))
        await temporal.until(lambda: all(len(temporal.heard[one]) >= 40 for one in workflows))
    for n, workflow in enumerate(workflows):
        assert sorted(temporal.keys(workflow)) == sorted(f"e-{n}-{part}" for part in range(40))


class Never:
    """A store that does not answer."""

    async def keep(self, delivery: Delivery) -> None:
        await asyncio.Event().wait()


async def test_a_sender_that_takes_too_long_over_its_body_gets_408_and_a_store_that_does_gets_it_503(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "BODY_TIME", 0.01)
    monkeypatch.setattr(webhooks, "COMMIT_TIME", 0.01)
    door = Door("plain", "main", PlainReader())
    app = WebhookApp({("plain", "main"): door}, Never(), GatewayMetrics(CollectorRegistry()), now)
    slow: asyncio.Queue[Message] = asyncio.Queue()
    slow.put_nowait({"type": "http.request", "body": b"{", "more_body": True})
    whole: asyncio.Queue[Message] = asyncio.Queue()
    whole.put_nowait({"type": "http.request", "body": b"{}"})
    async with asyncio.timeout(FOREVER):
        assert [await answered(app, slow), await answered(app, whole)] == [408, 503]


async def answered(app: WebhookApp, sent: asyncio.Queue[Message]) -> int:
    """The status of the answer to a delivery of which ``sent`` are the parts."""
    said: list[Message] = []

    async def respond(message: Message) -> None:
        said.append(message)

    headers = [(b"x-secret", SECRET.encode())]
    await app({"type": "http", "method": "POST", "path": "/webhooks/plain/main", "headers": headers}, sent.get, respond)
    status: int = said[0]["status"]
    return status


async def test_what_is_kept_is_answered_in_as_few_words_as_there_are_and_the_rest_is_safe_for_browsers(
    world: World, temporal: FakeTemporal
) -> None:
    async with running(parts_of(world.stores, temporal)) as gateway:
        kept, refused = await gateway.post(finished("e", run_id="r")), await gateway.post_raw(b"{}", secret="wrong")
    assert (kept.status_code, set(kept.headers)) == (200, {"content-length", "date"})
    assert (refused.status_code, refused.headers["x-content-type-options"]) == (401, "nosniff")
