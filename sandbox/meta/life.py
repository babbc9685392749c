"""What happens after a message was taken: it is sent, delivered, read, fails; the candidate reacts.

Every step changes the book first and tells afterwards. A step looks at the book again when its turn comes.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Final

from sandbox.meta.book import Book, Conversation, Message
from sandbox.meta.hooks import Change, Hooks, seconds
from sandbox.meta.settings import MetaAccount
from sandbox.personas import Candidate, Persona
from sandbox.phones import PhoneMessage
from sandbox.values import JsonObject
from sandbox.world import World

_RANKS: Final = ("accepted", "sent", "delivered", "read")

Happening = Callable[[], list[Change]]

UNDELIVERABLE: Final = (131026, "Message Undeliverable.")


class Life:
    """The course of messages in one account."""

    def __init__(self, account: MetaAccount, book: Book, hooks: Hooks, world: World) -> None:
        self._account = account
        self._book = book
        self._hooks = hooks
        self._world = world

    def later(self, delay: float, happening: Happening, lane: str) -> None:
        """Let something happen after a delay, and tell it then."""
        self._world.clock.schedule(delay, lambda: self.now(happening), lane=lane)

    async def now(self, happening: Happening) -> None:
        """Let something happen and tell it at once; returns when it was told."""
        await self._hooks.tell(happening())

    def person(self, number: str) -> Candidate:
        """Who sits at a number."""
        return self._world.personas.at(number)

    # -- messages of ours

    def dispatch(self, message: Message) -> list[Change]:
        """Send what was accepted; once only."""
        if message.status != "accepted":
            return []
        conversation = message.conversation
        blocked = conversation.blocked
        if message.failure is None and blocked and self._account.blocked_fails:
            message.failure = UNDELIVERABLE
        if message.failure is not None:
            self._put_on_phone(message, arrived=False)
            return self._progress(message, "failed")
        self._put_on_phone(message, arrived=not blocked)
        if not blocked:
            if not self._account.skips_delivered:
                delay = self._account.delivery_delay
                self.later(delay, lambda: self._progress(message, "delivered"), conversation.lane)
            self._react(message)
        return self._progress(message, "sent")

    def force(self, message: Message, word: str) -> list[Change]:
        """Tell any status at any time, also one that contradicts those before."""
        message.status = word
        return [self._hooks.status(message, word)]

    def _progress(self, message: Message, word: str) -> list[Change]:
        """A step forward; nothing when the message is there already, or has failed."""
        if message.status not in _RANKS or (word in _RANKS and _RANKS.index(word) <= _RANKS.index(message.status)):
            return []
        message.status = word
        return [self._hooks.status(message, word)]

    def _put_on_phone(self, message: Message, *, arrived: bool) -> None:
        conversation = message.conversation
        kinds = {"template": "template", "interactive": "interactive"}
        self._world.phones.receive(
            PhoneMessage.model_validate(
                {
                    "provider": "meta",
                    "account": self._account.name,
                    "to": conversation.number,
                    "kind": kinds.get(message.kind, "text"),
                    "template": message.template.name if message.template is not None else None,
                    "text": message.text,
                    "reference": message.reference,
                    "at": self._world.clock.now(),
                    "thread": conversation.lane,
                    "message": message.id,
                    "arrived": arrived,
                }
            )
        )

    # -- messages of the candidate's

    def inbound(
        self,
        conversation: Conversation,
        kind: str,
        content: JsonObject,
        *,
        name: str | None = None,
        answers: str | None = None,
        contact: bool = True,
    ) -> Change:
        """The candidate sends something: it opens the 24-hour window. ``answers`` is the id of the message meant."""
        now = self._world.clock.now()
        conversation.last_inbound = now
        message: JsonObject = {}
        if answers is not None:
            message["context"] = {"from": conversation.line.display_number, "id": answers}
        message |= {
            "from": conversation.wa_id,
            "id": self._book.wamid(conversation),
            "timestamp": str(seconds(now)),
            "type": kind,
            **content,
        }
        return self._hooks.inbound(conversation, message, name or kind, contact=contact)

    def text(self, conversation: Conversation, words: str) -> Change:
        """The candidate writes."""
        return self.inbound(conversation, "text", {"text": {"body": words}})

    def submit(
        self, message: Message, answers: JsonObject | str, *, token: bool = True, context: bool = True
    ) -> list[Change]:
        """The candidate sends the form of a message. ``answers`` as text goes into ``response_json`` as it is."""
        written = answers
        if not isinstance(written, str):
            whole = {**({"flow_token": message.flow_token} if token else {}), **written}
            written = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
        reply: JsonObject = {"name": "flow", "body": "Sent", "response_json": written}
        content: JsonObject = {"interactive": {"type": "nfm_reply", "nfm_reply": reply}}
        said = self.inbound(
            message.conversation,
            "interactive",
            content,
            name="nfm_reply",
            answers=message.id if context else None,
        )
        return [*self._progress(message, "read"), said]

    # -- candidates

    def _react(self, message: Message) -> None:
        """Plan what the candidate does about a message that is about to arrive."""
        conversation = message.conversation
        candidate = self.person(conversation.number)
        reaction = self._reaction(message, candidate)
        if reaction is None and candidate.options.reads:
            reaction = partial(self._progress, message, "read")
        if reaction is not None:
            delay = self._account.delivery_delay + self._world.personas.delay(candidate)
            self.later(delay, reaction, conversation.lane)

    def _reaction(self, message: Message, candidate: Candidate) -> Happening | None:
        match candidate.persona:
            case Persona.ANSWERS_AFTER_FOLLOW_UP:
                number = message.conversation.number
                arrived = self._world.phones.arrivals("meta", self._account.name, number)
                return partial(self._tap, message, candidate) if arrived == candidate.options.nth else None
            case Persona.DECLINES if candidate.options.by_button or message.flow is None:
                return partial(self._decline, message, candidate)
            case Persona.ANSWERS | Persona.ANSWERS_LATER | Persona.DECLINES | Persona.CHANGES_ANSWER:
                return partial(self._tap, message, candidate)
            case Persona.ABANDONS:
                # Opening a form sends nothing to the business; what it sees is at most that the message was read.
                return partial(self._progress, message, "read")
            case Persona.TEXTS | Persona.STOPS:
                return partial(self._write, message, candidate)
            case Persona.BLOCKS:
                return partial(self._block, message)
            case Persona.SILENT | Persona.UNREACHABLE:
                return None

    def _write(self, message: Message, candidate: Candidate) -> list[Change]:
        words = self._world.personas.words(candidate)
        return [*self._progress(message, "read"), self.text(message.conversation, words)]

    def _tap(self, message: Message, candidate: Candidate) -> list[Change]:
        """Open the form and complete it; a message without a form is answered in words."""
        conversation, lane = message.conversation, message.conversation.lane
        read = self._progress(message, "read")
        if message.flow is None:
            return [*read, self._reply(message, self._world.personas.words(candidate), candidate)]
        collected = message.flow.of.collects
        first = self._world.personas.answers(candidate, collected)
        finish = candidate.options.finish_after
        self.later(finish, lambda: self._complete(message, candidate, first), lane)
        if candidate.persona is Persona.CHANGES_ANSWER:
            changed = candidate.options.changed
            second = {**first, **(self._world.personas.settings.declining if changed is None else changed)}
            again = finish + candidate.options.again_after
            self.later(again, lambda: self._complete(message, candidate, second), conversation.lane)
        return read

    def _complete(self, message: Message, candidate: Candidate, answers: JsonObject) -> list[Change]:
        options = candidate.options
        return self.submit(message, answers, token=not options.leaves_token_out, context=not options.leaves_context_out)

    def _decline(self, message: Message, candidate: Candidate) -> list[Change]:
        words = candidate.options.text or self._world.personas.settings.decline
        return [*self._progress(message, "read"), self._reply(message, words, candidate)]

    def _reply(self, message: Message, words: str, candidate: Candidate) -> Change:
        """Tap the quick-reply button of these words, or else the last one; without any, write the words."""
        if not message.quick_replies:
            return self.text(message.conversation, words)
        fitting = [reply for reply in message.quick_replies if reply[0] == words]
        label, payload = (fitting or message.quick_replies)[-1]
        meant = None if candidate.options.leaves_context_out else message.id
        content: JsonObject = {"button": {"payload": payload, "text": label}}
        return self.inbound(message.conversation, "button", content, answers=meant)

    def _block(self, message: Message) -> list[Change]:
        message.conversation.blocked = True
        return self._progress(message, "read")
