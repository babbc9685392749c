"""Candidates: who sits at which number, and what they do when a message arrives."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field

from sandbox.values import Frozen, JsonObject


class Persona(StrEnum):
    """What a candidate does with a message."""

    ANSWERS = "answers"
    """Taps and completes the flow after ``delay``."""
    ANSWERS_LATER = "answers-later"
    """The same after a long delay; too late when the flow's session is over, then only a text arrives."""
    DECLINES = "declines"
    """Completes with a declining answer."""
    SILENT = "silent"
    """Never reacts; the flow's session ends as ``timeout``, or never with ``session_ends: false``."""
    UNREACHABLE = "unreachable"
    """Not on WhatsApp: messages fail as undeliverable, a run ends as ``exception``."""
    TEXTS = "texts"
    """Writes free text instead of taking the flow up."""
    STOPS = "stops"
    """Writes a stop word."""
    ABANDONS = "abandons"
    """Taps, begins and never finishes."""
    ANSWERS_AFTER_FOLLOW_UP = "answers-after-follow-up"
    """Silent until the ``nth`` message on this phone, then answers that one."""
    CHANGES_ANSWER = "changes-answer"
    """Submits the form twice, the second time with ``changed`` laid over. A run that ends once is answered once."""
    BLOCKS = "blocks"
    """Reads the first message and blocks the line, so that nothing more arrives. Only at Meta; elsewhere silent."""


class PersonaOptions(Frozen):
    """How a persona behaves. None takes the persona's own value. Delays are seconds of the sandbox's clock."""

    delay: Annotated[float, Field(ge=0)] | None = None
    """From the arrival of the message to the reaction."""
    finish_after: Annotated[float, Field(ge=0)] = 1.0
    """From the tap to the end of the flow."""
    answers: JsonObject | None = None
    """Laid over what the flow collects."""
    text: str | None = None
    """What is written; for a tap, the label of the button."""
    nth: Annotated[int, Field(ge=1)] = 2
    """The message that is answered by ``answers-after-follow-up``."""
    session_ends: bool = True
    """Whether the flow's own session timeout ends the silence."""
    reads: bool = False
    """Whether a message that gets no reaction is at least read."""
    by_button: bool = False
    """Whether ``declines`` taps the template's quick-reply button instead of answering the flow."""
    leaves_token_out: bool = False
    """Whether the form comes back without its token, as seen on iOS (Meta)."""
    leaves_context_out: bool = False
    """Whether replies do not tell which message they answer (Meta)."""
    changed: JsonObject | None = None
    """What ``changes-answer`` answers the second time; None declines."""
    again_after: Annotated[float, Field(ge=0)] = 60.0
    """From the first answer to the second one."""


class Candidate(Frozen):
    """A persona with its options."""

    persona: Persona
    options: PersonaOptions = PersonaOptions()


SUFFIXES: Mapping[str, Candidate] = {
    "91": Candidate(persona=Persona.ANSWERS_LATER),
    "92": Candidate(persona=Persona.DECLINES),
    "93": Candidate(persona=Persona.SILENT),
    "94": Candidate(persona=Persona.UNREACHABLE),
    "95": Candidate(persona=Persona.TEXTS),
    "96": Candidate(persona=Persona.STOPS),
    "97": Candidate(persona=Persona.ABANDONS),
    "98": Candidate(persona=Persona.ANSWERS_AFTER_FOLLOW_UP),
    "99": Candidate(persona=Persona.SILENT, options=PersonaOptions(session_ends=False)),
}
"""The persona of a number by its last two digits, so that a demo needs no control call. Others get the default."""


class PersonaSettings(Frozen):
    """Who sits where before the control API says more."""

    default: Candidate = Candidate(persona=Persona.ANSWERS)
    by_suffix: dict[str, Candidate] = dict(SUFFIXES)
    """The longest suffix that fits a number decides."""
    delay: Annotated[float, Field(ge=0)] = 5.0
    """Seconds until a persona reacts."""
    long_delay: Annotated[float, Field(ge=0)] = 6 * 3600.0
    """Seconds until ``answers-later`` reacts."""
    declining: JsonObject = {"available": "no"}
    """What ``declines`` answers."""
    tap: str = "Let us begin"
    """Label of the button; not a word that means something by itself, as START does."""
    decline: str = "No, thanks"
    """What a candidate writes who declines without a button to tap."""
    free_text: str = "Can you call me instead?"
    stop_word: str = "STOP"


class Seat(Frozen):
    """A number and who sits there, as the control API takes and shows it."""

    number: Annotated[str, Field(pattern=r"^[1-9][0-9]{6,14}$")]
    persona: Persona
    options: PersonaOptions = PersonaOptions()

    @classmethod
    def of(cls, number: str, candidate: Candidate) -> Self:
        """Show who sits at a number."""
        return cls(number=number, persona=candidate.persona, options=candidate.options)


class Personas:
    """Who sits at which number. The control API wins over the suffix, the suffix over the default."""

    def __init__(self, settings: PersonaSettings) -> None:
        self.settings = settings
        self._seats: dict[str, Candidate] = {}

    def seat(self, seat: Seat) -> None:
        """Put a persona at a number, from the next message on."""
        self._seats[seat.number] = Candidate(persona=seat.persona, options=seat.options)

    def unseat(self, number: str) -> None:
        """Leave a number to its suffix or the default."""
        self._seats.pop(number, None)

    def clear(self) -> None:
        """Leave every number to its suffix or the default."""
        self._seats.clear()

    def seats(self) -> list[Seat]:
        """Who was put where by the control API."""
        return [Seat.of(number, candidate) for number, candidate in sorted(self._seats.items())]

    def at(self, number: str) -> Candidate:
        """Who answers at a number (digits, no plus sign)."""
        if number in self._seats:
            return self._seats[number]
        fitting = [suffix for suffix in self.settings.by_suffix if number.endswith(suffix)]
        return self.settings.by_suffix[max(fitting, key=len)] if fitting else self.settings.default

    def delay(self, candidate: Candidate) -> float:
        """Seconds until this candidate reacts to a message."""
        if candidate.options.delay is not None:
            return candidate.options.delay
        later = candidate.persona is Persona.ANSWERS_LATER
        return self.settings.long_delay if later else self.settings.delay

    def answers(self, candidate: Candidate, collected: JsonObject) -> JsonObject:
        """What this candidate answers to a flow that collects these variables."""
        own = candidate.options.answers
        if own is None:
            own = self.settings.declining if candidate.persona is Persona.DECLINES else {}
        return {**collected, **own}

    def words(self, candidate: Candidate) -> str:
        """What this candidate writes, or the label that they tap."""
        if candidate.options.text is not None:
            return candidate.options.text
        match candidate.persona:
            case Persona.TEXTS:
                return self.settings.free_text
            case Persona.STOPS:
                return self.settings.stop_word
            case _:
                return self.settings.tap
