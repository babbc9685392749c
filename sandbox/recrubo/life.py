"""What happens after a request was taken: runs start, messages arrive, candidates react, sessions end.

Every step changes the book first and tells afterwards, so a webhook shows the resource as it was after its own event.
A step looks at the book again when its turn comes: what was cancelled, paused or ended meanwhile is left alone.
"""

from collections.abc import Callable
from datetime import timedelta

from sandbox.personas import Candidate, Persona
from sandbox.phones import PhoneMessage
from sandbox.recrubo.book import ENDS, NOT_STARTED, Book, Run, Template, Thread, ThreadMessage
from sandbox.recrubo.hooks import Hooks
from sandbox.settings import RecruboAccount
from sandbox.values import JsonObject
from sandbox.webhooks import Event
from sandbox.world import World

WINDOW = timedelta(hours=24)
"""How long after a candidate's message free text is delivered (WhatsApp's customer service window)."""

_RANKS = ("accepted", "sent", "delivered", "read", "failed")

Happening = Callable[[], list[Event]]


class Life:
    """The course of runs and messages in one organisation."""

    def __init__(self, account: RecruboAccount, book: Book, hooks: Hooks, world: World) -> None:
        self._account = account
        self._book = book
        self._hooks = hooks
        self._world = world

    def later(self, delay: float, happening: Happening, lane: str) -> None:
        """Let something happen after a delay, and tell it then."""
        self._world.clock.schedule(delay, lambda: self._world.webhooks.tell(happening()), lane=lane)

    async def now(self, happening: Happening) -> None:
        """Let something happen and tell it at once; returns when it was told."""
        await self._world.webhooks.tell(happening())

    # -- runs

    def begin(self, run: Run) -> list[Event]:
        """Start a run: its template goes out, billing begins. Not while the thread is paused."""
        if run.status not in NOT_STARTED or run.thread.paused:
            return []
        message = self._book.add_message(
            run.thread,
            self._world.clock.now(),
            run.initial_message,
            sent_by="Recrubo",
            text=run.template.filled(run.values),
            template=run.template,
        )
        events = self._hooks.message(message)
        if self._persona(run.thread).persona is Persona.UNREACHABLE:
            return events + self._fail(message, "Message undeliverable", run) + self.end(run, "exception")
        run.cost = 1
        self._renew_session(run)
        return events + self._change(run, "running") + self._arrive(message, run)

    def end(self, run: Run, status: str, state: JsonObject | None = None) -> list[Event]:
        """End a run that has not ended yet."""
        if run.status in ENDS:
            return []
        self._world.clock.cancel(run.session)
        run.session = None
        run.state = {**run.state, **(state or {})}
        return self._change(run, status)

    def resume(self, thread: Thread) -> None:
        """Go on with the runs of a thread that is no longer paused."""
        for run in thread.live_runs():
            if run.status in NOT_STARTED:
                self._begin_soon(run)
            else:
                self._renew_session(run)

    def _begin_soon(self, run: Run) -> None:
        self.later(self._account.start_delay, lambda: self.begin(run), run.thread.id)

    def _change(self, run: Run, status: str) -> list[Event]:
        run.status = status
        run.updated_at = self._world.clock.now()
        return self._hooks.run(run, "status")

    def _renew_session(self, run: Run) -> None:
        """Silence is counted from now on; a persona may never let it end."""
        self._world.clock.cancel(run.session)
        run.session = None
        if not self._persona(run.thread).options.session_ends:
            return

        async def silence() -> None:
            if not run.thread.paused:
                await self._world.webhooks.tell(self.end(run, "timeout"))

        run.session = self._world.clock.schedule(run.flow.session_timeout * 60, silence, lane=run.thread.id)

    # -- messages

    def dispatch(self, message: ThreadMessage) -> list[Event]:
        """Send what POST /messages accepted. Free text outside the window was accepted too, and fails here."""
        last = message.thread.last_inbound
        open_window = last is not None and self._world.clock.now() - last <= WINDOW
        if self._persona(message.thread).persona is Persona.UNREACHABLE:
            return self._fail(message, "Message undeliverable", None)
        if message.template is None and not open_window:
            return self._fail(message, "Re-engagement message", None)
        return self._arrive(message, None)

    def inbound(self, thread: Thread, text: str) -> list[Event]:
        """The candidate writes."""
        now = self._world.clock.now()
        thread.last_inbound = now
        payload: JsonObject = {"type": "text", "text": {"value": text}}
        message = self._book.add_message(thread, now, payload, sent_by=None, text=text)
        for run in thread.live_runs():
            if run.status == "running":
                self._renew_session(run)
        return self._hooks.message(message)

    def _arrive(self, message: ThreadMessage, run: Run | None) -> list[Event]:
        self._put_on_phone(message, run, arrived=True)
        self.later(self._account.delivery_delay, lambda: self._progress(message, "delivered"), message.thread.id)
        self._react(message, run)
        return self._progress(message, "sent")

    def _fail(self, message: ThreadMessage, why: str, run: Run | None) -> list[Event]:
        self._put_on_phone(message, run, arrived=False)
        message.errors.append(why)
        return self._progress(message, "failed")

    def _progress(self, message: ThreadMessage, status: str) -> list[Event]:
        if _RANKS.index(status) <= _RANKS.index(message.delivery or "accepted"):
            return []
        message.delivery = status
        message.updated_at = self._world.clock.now()
        return self._hooks.message(message, "deliveryStatus")

    def _put_on_phone(self, message: ThreadMessage, run: Run | None, *, arrived: bool) -> None:
        template: Template | None = message.template
        self._world.phones.receive(
            PhoneMessage(
                provider="recrubo",
                account=self._account.name,
                to=message.thread.identifier,
                kind="template" if template is not None else "text",
                template=template.name if template is not None else None,
                text=message.text,
                reference=run.reference if run is not None else None,
                at=self._world.clock.now(),
                thread=message.thread.id,
                run=run.id if run is not None else None,
                message=message.id,
                arrived=arrived,
            )
        )

    # -- candidates

    def _persona(self, thread: Thread) -> Candidate:
        return self._world.personas.at(thread.identifier)

    def _react(self, message: ThreadMessage, run: Run | None) -> None:
        """Plan what the candidate does about a message that has just arrived."""
        thread, candidate = message.thread, self._persona(message.thread)
        delay = self._world.personas.delay(candidate)
        match candidate.persona:
            case Persona.ANSWERS_AFTER_FOLLOW_UP:
                arrived = self._world.phones.arrivals("recrubo", self._account.name, thread.identifier)
                if arrived == candidate.options.nth:
                    live = run or next(iter(reversed(thread.live_runs())), None)
                    self._tap_later(delay, message, live, candidate, finishes=True)
                    return
            case Persona.ANSWERS | Persona.ANSWERS_LATER | Persona.DECLINES | Persona.ABANDONS | Persona.CHANGES_ANSWER:
                # Who is about to answer a run does not answer the recruiter's message as well.
                if run is not None or not thread.live_runs():
                    finishes = candidate.persona is not Persona.ABANDONS
                    self._tap_later(delay, message, run, candidate, finishes=finishes)
                    return
            case Persona.TEXTS | Persona.STOPS:
                self._tap_later(delay, message, None, candidate, finishes=False)
                return
            case Persona.SILENT | Persona.UNREACHABLE | Persona.BLOCKS:
                pass
        if candidate.options.reads:
            self.later(delay, lambda: self._progress(message, "read"), thread.id)

    def _tap_later(
        self, delay: float, message: ThreadMessage, run: Run | None, candidate: Candidate, *, finishes: bool
    ) -> None:
        def tap() -> list[Event]:
            if run is not None and finishes and run.status not in ENDS:
                self.later(candidate.options.finish_after, lambda: self._complete(run, candidate), message.thread.id)
            words = self._world.personas.words(candidate)
            return self._progress(message, "read") + self.inbound(message.thread, words)

        self.later(delay, tap, message.thread.id)

    def _complete(self, run: Run, candidate: Candidate) -> list[Event]:
        if run.status != "running" or run.thread.paused:
            return []
        return self.end(run, "finished", self._world.personas.answers(candidate, run.flow.collects))
