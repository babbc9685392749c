"""The script of a Truora: what happens there without a request of the client. Under `/control/truora`."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import Field, JsonValue

from sandbox.behind import behind
from sandbox.truora.api import TruoraApi
from sandbox.truora.book import Session
from sandbox.truora.desk import Desk
from sandbox.truora.hooks import Fact
from sandbox.values import Frozen, Instant, JsonObject


class OutboundVerdict(Frozen):
    """Another status for an outbound; any word, since clients must survive unknown ones."""

    status: Annotated[str, Field(min_length=1)]
    reason: str = ""


class Written(Frozen):
    """A text that a candidate writes now, in the newest conversation of the number or in the one named."""

    number: str
    text: Annotated[str, Field(min_length=1)]
    session: str | None = None


class Outcome(StrEnum):
    """What can be made to happen to a conversation."""

    ACCEPTED = "accepted"
    STARTED = "started"
    CANCELED = "canceled"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    EXITED = "exited"


class SessionVerdict(Frozen):
    """How a conversation goes on or ends now."""

    outcome: Outcome
    variables: JsonObject = {}
    """What the flow collected, for ``succeeded``."""
    failure_status: str = ""
    declined_reason: str = ""


class ScriptedEvent(Frozen):
    """An event of any words, for what clients do not know."""

    account: str
    event_type: Annotated[str, Field(min_length=1)]
    event_action: Annotated[str, Field(min_length=1)]
    object: JsonObject = {}


class SessionView(Frozen):
    """A conversation with the number behind it."""

    id: str
    account: str
    number: str
    outbound: str
    flow: str | None
    process: str | None
    reference: str | None
    status: str
    closed: bool
    variables: JsonObject
    created_at: Instant


class SessionViews(Frozen):
    """Conversations in the order of their creation."""

    count: int
    sessions: tuple[SessionView, ...]


class TruoraControl:
    """Scripted events and a look into the books. An event is answered when its hooks were answered or failed."""

    def __init__(self, api: TruoraApi) -> None:
        self._api = api

    @staticmethod
    def router() -> APIRouter:
        """The addresses of this part of the control API."""
        router = APIRouter(prefix="/truora", tags=["truora"])
        router.add_api_route("/outbounds", TruoraControl.outbounds, methods=["GET"])
        router.add_api_route("/outbounds/{outbound_id}", TruoraControl.judge_outbound, methods=["POST"])
        router.add_api_route("/inbound", TruoraControl.write, methods=["POST"])
        router.add_api_route("/events", TruoraControl.tell, methods=["POST"])
        router.add_api_route("/sessions", TruoraControl.sessions, methods=["GET"])
        router.add_api_route("/sessions/{session_id}", TruoraControl.judge_session, methods=["POST"])
        return router

    async def outbounds(self: "Here") -> list[JsonValue]:
        """Every outbound as the API shows it."""
        return [o.shown(desk.book.client_id) for desk in self._desks() for o in desk.book.outbounds.values()]

    async def judge_outbound(self: "Here", outbound_id: str, verdict: OutboundVerdict) -> JsonObject:
        """Give an outbound another status. No hook tells it, but for the ambiguous one where the account has it."""
        for desk in self._desks():
            outbound = desk.book.outbounds.get(outbound_id)
            if outbound is not None:
                outbound.status, outbound.failure_reason = verdict.status, verdict.reason
                if desk.account.tells_reviews and verdict.status == "APPROVED":
                    await desk.life.tell_now([desk.hooks.review(outbound)])
                return outbound.shown(desk.book.client_id)
        raise HTTPException(404, "no outbound of this id")

    async def write(self: "Here", written: Written) -> SessionView:
        """Let a candidate write now; EXIT cancels the conversation."""
        for desk in self._desks():
            found = [s for s in desk.book.sessions_of(written.number) if written.session in (None, s.id)]
            if found:
                session = found[-1]
                await desk.life.tell_now(desk.life.inbound(session, written.text))
                return _view(desk, session)
        raise HTTPException(404, "no conversation with this number")

    async def tell(self: "Here", event: ScriptedEvent) -> JsonObject:
        """Send an event as it stands, signed like any other."""
        desk = self._api.desks.get(event.account)
        if desk is None:
            raise HTTPException(404, "no account of this name")
        fact = desk.hooks.scripted(event.event_type, event.event_action, event.object)
        await desk.life.tell_now([fact])
        return fact.event

    async def sessions(
        self: "Here",
        number: Annotated[str | None, Query()] = None,
        status: Annotated[str | None, Query()] = None,
        reference: Annotated[str | None, Query()] = None,
    ) -> SessionViews:
        """The conversations that fit."""
        views = [_view(desk, session) for desk in self._desks() for session in desk.book.sessions.values()]
        found = tuple(
            view
            for view in views
            if number in (None, view.number) and status in (None, view.status) and reference in (None, view.reference)
        )
        return SessionViews(count=len(found), sessions=found)

    async def judge_session(self: "Here", session_id: str, verdict: SessionVerdict) -> SessionView:
        """Let something happen to a conversation now and send the hooks."""
        for desk in self._desks():
            session = desk.book.sessions.get(session_id)
            if session is not None:
                facts = _happen(desk, session, verdict)
                if not facts:
                    raise HTTPException(409, f"the conversation is {session.status}: this cannot happen to it")
                await desk.life.tell_now(facts)
                return _view(desk, session)
        raise HTTPException(404, "no conversation of this id")

    def _desks(self) -> list[Desk]:
        return list(self._api.desks.values())


Here = Annotated[TruoraControl, Depends(behind(TruoraControl))]
"""This part of the sandbox that is asked."""


def _happen(desk: Desk, session: Session, verdict: SessionVerdict) -> list[Fact]:
    life = desk.life
    match verdict.outcome:
        case Outcome.ACCEPTED:
            return life.accept(session)
        case Outcome.STARTED:
            return life.start(session)
        case Outcome.CANCELED:
            return life.cancel(session)
        case Outcome.SUCCEEDED:
            return life.succeed(session, verdict.variables)
        case Outcome.FAILED:
            return life.fail(session, verdict.failure_status, verdict.declined_reason)
        case Outcome.EXPIRED:
            return life.expire(session)
        case Outcome.EXITED:
            return life.exit(session)


def _view(desk: Desk, session: Session) -> SessionView:
    return SessionView(
        id=session.id,
        account=desk.account.name,
        number=session.number,
        outbound=session.outbound.id,
        flow=session.flow.id if session.flow is not None else None,
        process=session.process_id,
        reference=session.account_id,
        status=session.status,
        closed=session.closed,
        variables=session.collected,
        created_at=session.created_at,
    )
