"""What happens after a send was taken: the message arrives, the candidate taps, the flow runs, or time runs out.

Every step changes the book first and tells afterwards, and looks at the book again when its turn comes. Truora's flow
starts with the tap, not with the send; what was not tapped within its hours expires.
"""

from collections.abc import Callable, Sequence

from sandbox.personas import Candidate, Persona
from sandbox.phones import PhoneMessage
from sandbox.truora.book import CANCEL, CONTINUE, ENDS, Session
from sandbox.truora.hooks import INBOUND, OUTBOUND, PROCESS, SESSION, Fact, Hooks
from sandbox.truora.settings import TruoraAccount
from sandbox.values import JsonObject
from sandbox.world import World

EXIT = "EXIT"
"""The word that ends a conversation when a candidate types it."""
UNDELIVERED = "undelivered"

Happening = Callable[[], list[Fact]]


class Life:
    """The course of the conversations of one account."""

    def __init__(self, account: TruoraAccount, hooks: Hooks, world: World) -> None:
        self._account = account
        self._hooks = hooks
        self._world = world
        self._gathered: list[Fact] = []

    def later(self, delay: float, happening: Happening, lane: str) -> None:
        """Let something happen after a delay, and tell it then."""
        self._world.clock.schedule(delay, lambda: self.tell(happening()), lane=lane)

    async def tell_now(self, facts: Sequence[Fact]) -> None:
        """Deliver events at once, each for itself; returns when they were told."""
        await self._world.webhooks.tell([self._hooks.delivery([fact]) for fact in facts])

    async def tell(self, facts: Sequence[Fact]) -> None:
        """Deliver events, each for itself or gathered with what else happens soon."""
        if self._account.batch_seconds is None:
            await self.tell_now(facts)
            return
        if facts and not self._gathered:
            self._world.clock.schedule(self._account.batch_seconds, self._tell_gathered, lane=self._account.name)
        self._gathered += facts

    async def _tell_gathered(self) -> None:
        facts, self._gathered = self._gathered, []
        await self._world.webhooks.tell([self._hooks.delivery(facts)])

    # -- what can happen to a conversation; each returns nothing when it comes too late

    def begin(self, session: Session) -> list[Fact]:
        """Put the message on the phone, if there is one."""
        if session.closed or session.status != "queued":
            return []
        self._expire_later(session)
        unreachable = self._candidate(session).persona is Persona.UNREACHABLE
        self._put_on_phone(session, arrived=not unreachable)
        if unreachable:
            tells = self._account.undeliverable == "failed" and session.process_id is not None
            return self.fail(session, UNDELIVERED) if tells else []
        session.status = "sent"
        facts = [self._hooks.conversation(session, OUTBOUND, "started"), *self._also(session, SESSION, "started")]
        self._react(session)
        return facts

    def accept(self, session: Session) -> list[Fact]:
        """Continue was tapped: the outbound is accepted, and its flow starts."""
        if session.closed or session.status in ENDS:
            return []
        session.status = "accepted"
        return [self._hooks.conversation(session, OUTBOUND, "approved"), *self.start(session)]

    def start(self, session: Session) -> list[Fact]:
        """Start the flow, if the outbound has one."""
        if session.closed or session.status in ENDS or session.process_id is None:
            return []
        session.status = "started"
        return [self._hooks.conversation(session, PROCESS, "started")]

    def cancel(self, session: Session) -> list[Fact]:
        """Cancel was tapped. The conversation may stay open, with nothing in it but its expiry."""
        if session.closed or session.status in ENDS:
            return []
        session.status = "canceled"
        if not self._account.expires_canceled:
            self._close(session)
        return [self._hooks.conversation(session, OUTBOUND, "canceled")]

    def succeed(self, session: Session, collected: JsonObject) -> list[Fact]:
        """The flow came to its good end."""
        if session.closed or session.status in ENDS or session.process_id is None:
            return []
        session.status, session.collected = "succeeded", collected
        self._close(session)
        return [self._hooks.conversation(session, PROCESS, "succeeded")]

    def fail(self, session: Session, status: str = "", reason: str = "") -> list[Fact]:
        """The flow came to another end."""
        if session.closed or session.status in ENDS or session.process_id is None:
            return []
        session.status, session.failure_status, session.declined_reason = "failed", status, reason
        self._close(session)
        return [self._hooks.conversation(session, PROCESS, "failed")]

    def expire(self, session: Session) -> list[Fact]:
        """Nobody came, or nobody went on. After Cancel this is told, too, but ends nothing."""
        return self._end_conversation(session, "expired", "expired")

    def exit(self, session: Session) -> list[Fact]:
        """The candidate typed EXIT."""
        return self._end_conversation(session, "exited", "canceled")

    def inbound(self, session: Session, text: str) -> list[Fact]:
        """The candidate writes, or taps: what is written matters only when it is EXIT."""
        facts = self._also(session, INBOUND, "started")
        return facts + (self.exit(session) if text.strip().upper() == EXIT else [])

    def tap(self, session: Session, action: str) -> list[Fact]:
        """The candidate taps a button; the second tap does nothing."""
        if session.closed or session.status != "sent":
            return []
        facts = self._also(session, INBOUND, "started")
        match action:
            case "continue_process":
                return facts + self.accept(session)
            case "cancel_process":
                return facts + self.cancel(session)
            case _:
                return facts

    def _end_conversation(self, session: Session, status: str, action: str) -> list[Fact]:
        if session.closed:
            return []
        session.status = session.status if session.status in ENDS else status
        self._close(session)
        return [self._hooks.conversation(session, SESSION, action)]

    def _also(self, session: Session, kind: str, action: str) -> list[Fact]:
        """An event that nobody needs, for an account that tells everything."""
        return [self._hooks.conversation(session, kind, action)] if self._account.tells_everything else []

    def _close(self, session: Session) -> None:
        session.closed = True
        self._world.clock.cancel(session.expiry)
        session.expiry = None

    def _expire_later(self, session: Session) -> None:
        """Expiry is counted from the sending; a persona may never let it come."""
        if not self._candidate(session).options.session_ends:
            return
        hours = session.flow.session_hours if session.flow is not None else self._account.session_hours

        async def silence() -> None:
            await self.tell(self.expire(session))

        session.expiry = self._world.clock.schedule(hours * 3600, silence, lane=session.id)

    def _put_on_phone(self, session: Session, *, arrived: bool) -> None:
        self._world.phones.receive(
            PhoneMessage(
                provider="truora",
                account=self._account.name,
                to=session.number,
                kind="template",
                template=session.outbound.name,
                text=session.outbound.filled(session.values),
                reference=session.account_id,
                at=self._world.clock.now(),
                thread=session.id,
                run=session.process_id,
                message=session.id,
                arrived=arrived,
            )
        )

    # -- candidates

    def _candidate(self, session: Session) -> Candidate:
        return self._world.personas.at(session.number)

    def _react(self, session: Session) -> None:
        """Plan what the candidate does about the message that has just arrived."""
        candidate = self._candidate(session)
        delay = self._world.personas.delay(candidate)
        match candidate.persona:
            case Persona.TEXTS | Persona.STOPS:
                words = self._words(candidate)
                self.later(delay, lambda: [] if session.closed else self.inbound(session, words), session.id)
            case Persona.ANSWERS_AFTER_FOLLOW_UP:
                arrived = self._world.phones.arrivals("truora", self._account.name, session.number)
                if arrived == candidate.options.nth:
                    self._tap_later(delay, session, candidate)
            case Persona.SILENT | Persona.UNREACHABLE | Persona.BLOCKS:
                pass
            case _:
                self._tap_later(delay, session, candidate)

    def _words(self, candidate: Candidate) -> str:
        if candidate.persona is Persona.STOPS and candidate.options.text is None:
            return EXIT  # the stop word of the other providers means nothing here
        return self._world.personas.words(candidate)

    def _tap_later(self, delay: float, session: Session, candidate: Candidate) -> None:
        by_button = candidate.persona is Persona.DECLINES and candidate.options.by_button
        button = session.outbound.button(candidate.options.text, CANCEL if by_button else CONTINUE)
        if button is None:
            return  # a notification without buttons: there is nothing to tap
        action = button.action

        def tap() -> list[Fact]:
            facts = self.tap(session, action)
            if session.status == "started" and candidate.persona is not Persona.ABANDONS:
                self.later(candidate.options.finish_after, lambda: self._complete(session, candidate), session.id)
            return facts

        self.later(delay, tap, session.id)

    def _complete(self, session: Session, candidate: Candidate) -> list[Fact]:
        if session.status != "started" or session.flow is None:
            return []
        return self.succeed(session, self._world.personas.answers(candidate, session.flow.collects))
