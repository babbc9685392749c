"""Tells an engagement as a story: what was sent or not, when, why, and what was waited for between."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.audit import WHY
from domain.following import spoken
from domain.free_form import MessageForm
from domain.outcomes import Decision, EngagementOutcome, Settlement
from domain.sends import LedgerState
from domain.snapshot import EngagementSnapshot
from starter.story_words import OUTCOMES, PLAIN, RULES, Words
from starter.trace import FOR, TIMER_STARTED
from starter.views import LineKind, Story, StoryLine, TraceEntry

QUIET = timedelta(hours=1)
"""How long nothing must have happened for the story to say what was waited for."""
UNTIL_THEN = ("the send window to open", "the cap to free")
"""Waits of held messages that end at an instant that is known; the others end when they end."""
AT_ONCE = timedelta(seconds=5)
"""A wait begins so soon after what happened before it."""
_OTHER = Words(LineKind.NOTE, "{text}")
_LATE = re.compile(r"^came after the outcome \w+: ")
_SKIP = re.compile(r"^(was )?skipped( before it left)?: ")


def tell(snapshot: EngagementSnapshot, history: Sequence[TraceEntry], now: datetime) -> Story:
    """The story of an engagement as it stands; ``history`` adds what was waited for, as far as it is still there."""
    teller = _Teller(snapshot)
    lines = [teller.line(decision) for decision in snapshot.decisions]
    end = snapshot.settlement
    told = _with_quiet(lines, _Waits(history, teller), None if end is not None else now)
    return Story(
        reference=snapshot.reference,
        headline=f"{OUTCOMES[end.outcome]} ({end.outcome})" if end is not None else teller.standing(),
        because=_sentence(_capital(teller.reason(end, snapshot))) if end is not None else "",
        facts=tuple(_facts(snapshot, teller, lines)),
        zone=teller.zone_name,
        lines=tuple(told),
    )


def clock(at: datetime, zone: str) -> datetime:
    """An instant as a clock shows it in a zone; UTC where the zone is not known."""
    try:
        return at.astimezone(ZoneInfo(zone)) if zone else at.astimezone(UTC)
    except (ZoneInfoNotFoundError, ValueError):
        return at.astimezone(UTC)


def on_the_clock(at: datetime, zone: str, year: str = "") -> str:
    """An instant with its day, by the candidate's clock; ``year`` is how to write the year, if at all."""
    local = clock(at, zone)
    return f"{local:%a} {local.day} {local:%b}{local.strftime(year)} {local:%H:%M}" + ("" if zone else " UTC")


@dataclass(frozen=True)
class _Read:
    """A text of the decision log, taken apart."""

    step: str
    attempt: int
    text: str


class _Teller:
    """Puts decisions of one engagement into words."""

    def __init__(self, snapshot: EngagementSnapshot) -> None:
        self._snapshot = snapshot
        self._steps = {step.name: step for step in snapshot.steps}
        names = {*self._steps, *(send.step for send in snapshot.sends), "opening"}
        known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        self._names = re.compile(rf"^(?P<step>{known}|follow-up[- ]\d+)(?: #(?P<n>\d+))?(?P<colon>:)? (?P<text>.*)$")
        self._follow_ups = sum(name.startswith("follow-up-") for name in self._steps)
        self.zone_name = snapshot.zone

    def line(self, decision: Decision) -> StoryLine:
        """One decision as a sentence."""
        words = RULES.get(decision.rule, _OTHER)
        kind, text = words.kind, decision.text
        actor = decision.actor or "somebody"
        outcome = next((one for one in EngagementOutcome if text.startswith(f"{one}: ")), None)
        if outcome is not None:
            kind, reason = LineKind.OUTCOME, self._filled(words.ends, text.removeprefix(f"{outcome}: "), actor)
            said = f"{OUTCOMES[outcome]}: {reason}" + _by(decision.actor, words.ends)
        elif late := _LATE.match(text):
            kind = LineKind.NOTE
            said = f"this came too late to change how it ended: {self._plain(text[late.end() :])}" + _by(
                decision.actor, ""
            )
        else:
            said = self._said(words, text.removeprefix("held: "), actor)
            said += _by(decision.actor, words.says)
        said = said if said.startswith(actor) else _capital(said)
        return StoryLine(at=decision.at, kind=kind, text=_sentence(said), rule=decision.rule, technical=decision.text)

    def reason(self, end: Settlement, snapshot: EngagementSnapshot) -> str:
        """Why it ended as it did."""
        decided = next((d for d in snapshot.decisions if d.rule == end.rule and d.at == end.at), None)
        actor = decided.actor if decided is not None else ""
        ends = RULES.get(end.rule, _OTHER).ends
        return self._filled(ends, end.reason, actor or "somebody") + _by(actor, ends)

    def standing(self) -> str:
        """Where an open engagement stands."""
        snapshot = self._snapshot
        if snapshot.pause is not None:
            return f"Open, paused by {snapshot.pause.actor}: {snapshot.pause.reason}"
        until = f" until {on_the_clock(snapshot.until, self.zone_name)}" if snapshot.until else ""
        if snapshot.hold is not None:
            waits = RULES.get(snapshot.hold.rule, _OTHER).waits or snapshot.hold.rule
            return f"Open, waits for {waits}: {self._plain(snapshot.hold.reason)}"
        what, _, otherwise = snapshot.waiting_for.partition(", else ")
        more = f", else {self._plain(otherwise)}" if otherwise else ""
        return f"Open, waiting for {self._plain(what)}{until}{more}" if what else "Open"

    def named(self, step: str) -> str:
        """A step as people call it."""
        place = step.removeprefix("follow-up").strip(" -")
        if step.startswith("follow-up") and place.isdigit():
            of = f" of {self._follow_ups}" if self._follow_ups else ""
            return f"follow-up {place}{of}"
        return "the opening message" if step == "opening" else f"the {step.replace('-', ' ')} message"

    def wait(self, text: str) -> str:
        """What a timer waits for."""
        return self._plain(text)

    def _said(self, words: Words, text: str, actor: str) -> str:
        read = self._read(text)
        return self._filled(words.exact.get(read.text, words.says), text, actor)

    def _filled(self, says: str, text: str, actor: str) -> str:
        read = self._read(text)
        uses_step = "{step}" in says
        cause, names_one, at_end = text.rpartition(": follow-up")
        step = read.step or (f"follow-up {at_end.split()[0]}" if names_one and at_end.strip() else "")
        rest = read.text if uses_step or not read.step else f"{self.named(read.step)}: {read.text}"
        return says.format(
            step=self.named(step) if step else "the message",
            text=self._plain(_SKIP.sub("", rest)),
            cause=self._plain(cause or text),
            actor=actor,
            again="" if read.attempt <= 1 else f" (attempt {read.attempt})",
            content=self._content(read),
        )

    def _content(self, read: _Read) -> str:
        """What was sent: the template with its language, or free text; and why it was that, where the log says so."""
        step, why = self._steps.get(read.step), self._plain(read.text.partition("; ")[2])
        more = f"; {why}" if why else ""
        sends = (send for send in self._snapshot.sends if (send.step, send.n) == (read.step, read.attempt))
        send = next(sends, None)
        if step is None or (send is not None and send.template != step.template):
            return f": {self._plain(read.text)}"  # of an earlier version of the plan, or of another line
        asks = "with the questions" if step.with_flow else "a reminder without questions of its own"
        if send is not None and send.form is MessageForm.FREE_FORM:
            return f": free text, {asks}{more}"
        return f": template {step.template} ({step.language}), {asks}{more}"

    def _read(self, text: str) -> _Read:
        found = self._names.match(text)
        if found is None or not (found["colon"] or _SKIP.match(found["text"])):
            return _Read("", 1, text)
        return _Read(found["step"].replace(" ", "-"), int(found["n"] or 1), found["text"])

    def _plain(self, text: str) -> str:
        """Without words of ours that a reader cannot know."""
        for pattern, words in PLAIN:
            text = re.sub(pattern, words, text)
        text = re.sub(r"\bfollow-up[- ](\d+)\b(?! of )", lambda found: self.named(found[0]), text)
        text = re.sub(r"^opening\b", "the opening message", text)
        for rule, words in _HOLDS.items():
            text = re.sub(rf"\bheld by {rule}\b", f"held back, waiting for {words},", text)
            text = re.sub(rf"^{rule} over: ", f"no longer waits for {words}; ", text)
        return text


_HOLDS = {rule: words.waits for rule, words in RULES.items() if words.waits}


class _Waits:
    """What was waited for at an instant."""

    def __init__(self, history: Sequence[TraceEntry], teller: _Teller) -> None:
        self._timers = [entry for entry in history if entry.what == TIMER_STARTED and entry.until is not None]
        self._teller = teller

    def told(self, begin: datetime, end: datetime, held: str) -> str:
        """What was waited for between two lines of the story, as far as is known."""
        begun = [timer for timer in self._timers if timer.at <= begin + AT_ONCE]
        timer = next((t for t in reversed(begun) if t.until and t.until >= end - AT_ONCE), None)
        if timer is None or timer.until is None:
            return held or "an answer"
        what, _, otherwise = timer.text.rpartition(FOR)[0].partition(WHY)[0].partition(", else ")
        until = on_the_clock(timer.until, self._teller.zone_name)
        if held:
            return f"{held}, until {until}" if what in UNTIL_THEN else held
        more = f", else {self._teller.wait(otherwise)}" if otherwise else ""
        return f"{self._teller.wait(what)} until {until}{more}"


def _with_quiet(lines: Sequence[StoryLine], waits: _Waits, now: datetime | None) -> list[StoryLine]:
    """The lines, with what was waited for where nothing happened for a while."""
    told: list[StoryLine] = []
    standing: dict[str, str] = {}
    for index, line in enumerate(lines):
        told.append(line)
        _note_wait(line, standing)
        following = lines[index + 1].at if index + 1 < len(lines) else now
        if following is not None and following - line.at >= QUIET:
            held = next(iter(standing.values()), "")
            length = _rounded(following - line.at)
            what = waits.told(line.at, following, held)
            told.append(
                StoryLine(at=line.at, kind=LineKind.QUIET, text=f"Nothing for {spoken(length)}: waiting for {what}.")
            )
    return told


def _note_wait(line: StoryLine, standing: dict[str, str]) -> None:
    """Keep what the engagement waits for besides an answer: the operator first, then what holds it."""
    words = RULES.get(line.rule, _OTHER)
    if line.rule == "pause":
        standing.clear()
        standing["pause"] = "somebody to resume it"
    elif line.kind is LineKind.WAITS and words.waits:
        standing.pop("hold", None)
        standing["hold"] = words.waits
    elif line.kind in (LineKind.GOES_ON, LineKind.SENT, LineKind.OUTCOME, LineKind.NOT_SENT) or line.rule == "resume":
        standing.clear()


def _facts(snapshot: EngagementSnapshot, teller: _Teller, lines: Sequence[StoryLine]) -> list[tuple[str, str]]:
    version = f", version {snapshot.plan_version}" if snapshot.plan_version else ""
    begin = snapshot.started_at or (lines[0].at if lines else None)
    end = snapshot.settlement.at if snapshot.settlement is not None else None
    provider = f" ({snapshot.provider})" if snapshot.provider else ""
    facts = [("plan", snapshot.plan + version), ("line", snapshot.line + provider)]
    if begin is not None:
        lasted = f", after {spoken(_rounded(end - begin))}" if end is not None else ""
        until = f"; ended {on_the_clock(end, teller.zone_name, ' %Y')}{lasted}" if end is not None else ""
        facts.append(("begun", on_the_clock(begin, teller.zone_name, " %Y") + until))
    facts.append(("messages", _messages(snapshot, teller, lines)))
    if snapshot.needs_human:
        facts.append(("needs", "a person to look at it"))
    return facts


def _messages(snapshot: EngagementSnapshot, teller: _Teller, lines: Sequence[StoryLine]) -> str:
    sent = [teller.named(send.step) for send in snapshot.sends if send.send_state is LedgerState.SENT]
    unknown = [teller.named(send.step) for send in snapshot.sends if send.send_state is LedgerState.UNKNOWN]
    skipped = [line.text.partition(" was skipped: ")[0] for line in lines if " was skipped: " in line.text]
    parts = [f"{len(sent)} sent ({', '.join(sent)})" if sent else "none sent"]
    parts += [f"{len(unknown)} of which nobody knows whether it left ({', '.join(unknown)})"] if unknown else []
    parts += [f"{len(skipped)} skipped ({', '.join(map(_small, skipped))})"] if skipped else []
    return "; ".join(parts)


def _rounded(length: timedelta) -> timedelta:
    """A length as precise as anybody wants to know it."""
    grain = timedelta(hours=1) if length >= timedelta(days=1) else timedelta(minutes=1)
    return length if length < timedelta(minutes=1) else round(length / grain) * grain


def _by(actor: str, says: str) -> str:
    return f" (by {actor})" if actor and "{actor}" not in says else ""


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
