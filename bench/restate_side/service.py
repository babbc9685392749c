"""An engagement on Restate: the handlers that its server calls, and the door that providers and recruiters knock at.

``python -m bench.restate_side.service handlers PORT`` and ``… door PORT``. A workflow's key and ``Idempotency-Key``
make starts and webhooks idempotent, as the documentation says. It also says that a step may run again after a crash,
and Recrubo takes no idempotency key: so a step of its own records which process is about to send, and any other
process looks for the run in place of sending.
"""

import asyncio
import hmac
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import httpx
import hypercorn
import hypercorn.asyncio
import restate
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.lives.recrubo import Ats, FlowRun, Message, Order, Recrubo, Settings, Told, is_authentic, read_webhook

THIS_PROCESS = uuid4().hex
SETTINGS = Settings.load()
INGRESS = os.environ.get("BENCH_INGRESS", "")
recrubo, ats = Recrubo(SETTINGS), Ats(SETTINGS)
sent_here: set[str] = set()
"""Sends that this process has begun."""

engagement = restate.Workflow("Engagement")
conversation = restate.VirtualObject("Conversation")


async def begin_send() -> str:
    """Who is about to send, for the journal."""
    return THIS_PROCESS


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


@engagement.main()
async def run(ctx: restate.WorkflowContext, order: Order) -> str:
    """Opening, answer or reminder, answer or silence, outcome."""
    thread, last, outcome = "", FlowRun(id="", status="", state={}), "no_reply"
    steps = ((order["opening"], order["remind_after"]), (order["reminder"], order["give_up_after"]))
    for number, (message, patience) in enumerate(steps):
        if not await ctx.run_typed("template", recrubo.is_approved, template=message["template"]):
            outcome = "template_rejected"
            break
        thread = thread or await ctx.run_typed("thread", recrubo.thread_of, phone=order["phone"])
        key = f"{order['reference']}.{number}"
        begun_by = await ctx.run_typed("begin", begin_send)
        run_id = await ctx.run_typed("send", send, begun_by=begun_by, key=key, thread=thread, message=message)
        answer = ctx.promise("answer", type_hint=dict).value()
        await restate.select(answer=answer, silence=ctx.sleep(timedelta(seconds=patience)))
        last = await ctx.run_typed("read", recrubo.run, run_id=run_id)  # whether told or silent
        if last["status"] == "finished":
            outcome = "declined" if last["state"].get("available") == "no" else "completed"
            break
    await ctx.run_typed("tell", ats.tell, reference=order["reference"], outcome=outcome, answers=last["state"])
    return outcome


@engagement.handler()
async def answered(ctx: restate.WorkflowSharedContext, told: Told) -> None:
    """An end of a run wakes the workflow."""
    await ctx.promise("answer", type_hint=dict).resolve(dict(told))


@conversation.handler()
async def heard(ctx: restate.ObjectContext, told: Told) -> None:
    """What changes no decision is kept with the thread."""
    known = await ctx.get("events", type_hint=list) or []
    ctx.set("events", [*known, told])


class Door:
    """Verifies, and hands everything to Restate's ingress, which has it on the disk before it answers."""

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=50)
        self._http = httpx.AsyncClient(base_url=INGRESS, limits=limits, timeout=20, trust_env=False)

    async def start(self, request: Request) -> Response:
        """Begin an engagement; the reference makes a repetition harmless."""
        if not hmac.compare_digest(request.headers.get("authorization", ""), f"Bearer {SETTINGS.access}"):
            return JSONResponse({"detail": "no valid token"}, 401)
        order: Order = await request.json()
        answer = await self._http.post(f"/Engagement/{order['reference']}/run/send", json=order)
        if answer.status_code == 409:  # it is there already
            return JSONResponse({"id": order["reference"]})
        return Response(answer.content, answer.status_code, media_type="application/json")

    async def webhook(self, request: Request) -> Response:
        """Take an event in: 200 once Restate has it."""
        if not is_authentic(request.headers, SETTINGS.hook_secret):
            return Response(status_code=401)
        told = read_webhook(await request.body())
        if told is None:
            return Response()
        to = f"/Conversation/{told['thread']}/heard/send"
        if told["status"] == "run finished" and told["reference"]:
            reference, _, _ = told["reference"].rpartition(".")
            to = f"/Engagement/{reference}/answered/send"
        answer = await self._http.post(to, json=told, headers={"idempotency-key": told["key"]})
        return Response(status_code=200 if answer.is_success else 503)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Give connections back at the end."""
        yield
        await self._http.aclose()


def serve_door(port: int) -> None:
    """Serve what faces the outside."""
    door = Door()
    routes = [Route("/engagements", door.start, methods=["POST"]), Route("/webhooks", door.webhook, methods=["POST"])]
    app = Starlette(routes=routes, lifespan=door.lifespan)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def serve_handlers(port: int) -> None:
    """Serve what Restate calls, by HTTP/2 as its documentation configures Hypercorn."""
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.h2_max_concurrent_streams = config.keep_alive_max_requests = 2147483647
    config.keep_alive_timeout = 2147483647
    app = restate.app(services=[engagement, conversation])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(hypercorn.asyncio.serve(app, config))


if __name__ == "__main__":
    {"door": serve_door, "handlers": serve_handlers}[sys.argv[1]](int(sys.argv[2]))
