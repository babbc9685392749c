"""An engagement on DBOS: one process serves HTTP and carries the workflows, PostgreSQL remembers.

``python -m bench.dbos_side.service PORT``. Workflow ids and message keys make starts and webhooks idempotent, as the
documentation says. It also says that a step may run again after a crash, and Recrubo takes no idempotency key: so a
step of its own records which process is about to send, and any other process looks for the run in place of sending.
"""

import asyncio
import hmac
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import uvicorn
from dbos import DBOS, DBOSConfig, SetWorkflowID
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.lives.recrubo import Ats, FlowRun, Message, Order, Recrubo, Settings, Told, is_authentic, read_webhook

ANSWERS = "answers"
THIS_PROCESS = uuid4().hex
SETTINGS = Settings.load()
DATABASE = os.environ["BENCH_DATABASE"]
recrubo, ats = Recrubo(SETTINGS), Ats(SETTINGS)
sent_here: set[str] = set()
"""Sends that this process has begun."""
pool = AsyncConnectionPool(DATABASE, min_size=2, max_size=8, open=False)

TABLES = """
    CREATE TABLE IF NOT EXISTS provider_events (
        key text PRIMARY KEY, thread text NOT NULL, status text NOT NULL, at timestamptz NOT NULL DEFAULT now())
"""
KEEP = "INSERT INTO provider_events (key, thread, status) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


@DBOS.step(retries_allowed=True, max_attempts=10)
async def is_approved(template: str) -> bool:
    """Look at the template before each send."""
    return await recrubo.is_approved(template)


@DBOS.step(retries_allowed=True, max_attempts=10)
async def open_thread(phone: str) -> str:
    """Find it or open it."""
    return await recrubo.thread_of(phone)


@DBOS.step()
async def begin_send() -> str:
    """Record who is about to send."""
    return THIS_PROCESS


@DBOS.step(retries_allowed=True, max_attempts=10)
async def send(begun_by: str, key: str, thread: str, message: Message) -> str:
    """Send once: whoever cannot know that nobody sent looks instead."""
    if begun_by != THIS_PROCESS or key in sent_here:
        return await recrubo.run_of(thread, key)
    sent_here.add(key)
    try:
        return await recrubo.trigger(thread, key, message)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        sent_here.discard(key)  # known not sent
        raise


@DBOS.step(retries_allowed=True, max_attempts=10)
async def read_run(run_id: str) -> FlowRun:
    """How the run stands."""
    return await recrubo.run(run_id)


@DBOS.step(retries_allowed=True, max_attempts=20, backoff_rate=2)
async def tell_ats(reference: str, outcome: str, answers: dict[str, str]) -> None:
    """Report the outcome."""
    await ats.tell(reference, outcome, answers)


@DBOS.workflow()
async def engagement(order: Order) -> str:
    """Opening, answer or reminder, answer or silence, outcome."""
    thread, run, outcome = "", FlowRun(id="", status="", state={}), "no_reply"
    steps = ((order["opening"], order["remind_after"]), (order["reminder"], order["give_up_after"]))
    for number, (message, patience) in enumerate(steps):
        if not await is_approved(message["template"]):
            outcome = "template_rejected"
            break
        thread = thread or await open_thread(order["phone"])
        key = f"{order['reference']}.{number}"
        run_id = await send(await begin_send(), key, thread, message)
        await DBOS.recv_async(ANSWERS, timeout_seconds=patience)
        run = await read_run(run_id)  # whether told or silent
        if run["status"] == "finished":
            outcome = "declined" if run["state"].get("available") == "no" else "completed"
            break
    await tell_ats(order["reference"], outcome, run["state"])
    return outcome


async def start(request: Request) -> Response:
    """Begin an engagement; the reference makes a repetition harmless."""
    if not hmac.compare_digest(request.headers.get("authorization", ""), f"Bearer {SETTINGS.access}"):
        return JSONResponse({"detail": "no valid token"}, 401)
    order: Order = await request.json()
    with SetWorkflowID(order["reference"]):
        handle = await DBOS.start_workflow_async(engagement, order)
    return JSONResponse({"id": handle.get_workflow_id()}, 202)


async def webhook(request: Request) -> Response:
    """Take an event in: 200 once it is in the database."""
    if not is_authentic(request.headers, SETTINGS.hook_secret):
        return Response(status_code=401)
    told = read_webhook(await request.body())
    if told is not None:
        await keep(told)
    return Response()


async def keep(told: Told) -> None:
    """An end wakes its workflow; everything else changes no decision and is only kept."""
    if told["status"] == "run finished" and told["reference"]:
        reference, _, _ = told["reference"].rpartition(".")
        await DBOS.send_async(reference, told, ANSWERS, idempotency_key=told["key"])
        return
    async with pool.connection() as connection:
        await connection.execute(KEEP, (told["key"], told["thread"], told["status"]))


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """DBOS runs while the application does."""
    await pool.open()
    async with pool.connection() as connection:
        await connection.execute(TABLES)
    await asyncio.to_thread(DBOS.launch)
    yield
    await asyncio.to_thread(DBOS.destroy)
    await pool.close()


def main() -> None:
    """Serve until told to stop."""
    config: DBOSConfig = {
        "name": "engagements",
        "system_database_url": DATABASE.replace("postgresql://", "postgresql+psycopg://"),
        "log_level": "WARNING",
    }
    DBOS(config=config)
    routes = [Route("/engagements", start, methods=["POST"]), Route("/webhooks", webhook, methods=["POST"])]
    app = Starlette(routes=routes, lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
