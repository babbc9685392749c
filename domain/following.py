"""Which of our later messages is due when, and whether it may still leave. Pure: judges state by an instant."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from domain.budgets import SERVICE
from domain.engagements import Engagement
from domain.events import FlowRunStatus, MessageStatus
from domain.free_form import MessageForm
from domain.model import JsonValue
from domain.plans import AnswerRule, AtsRule, Condition, FollowUp, LastEnd, Signal, TemplateRef
from domain.send_record import SendRecord
from domain.sends import LedgerState, SendReceipt
from domain.state import EngagementState, StartedFollowUp

_LEFT = (LedgerState.SENT, LedgerState.UNKNOWN)


class Move(StrEnum):
    """What happens when the present wait is over."""

    FOLLOW_UP = "follow-up"
    ANSWERED = "answered"
    SILENCE = "silence"
    FAILED_RUN = "failed-run"
    TEMPLATE = "template"
    """What left without a template did not arrive: its template leaves."""


@dataclass(frozen=True)
class NextMove:
    """What is due, when, and how people read it. ``place`` is the follow-up's in the plan's list, from 1."""

    move: Move
    at: datetime
    waiting_for: str
    place: int = 0


@dataclass(frozen=True)
class Objection:
    """Why a follow-up does not leave: the rule, and the reason in words."""

    rule: str
    reason: str


class Following:
    """The follow-ups of one engagement."""

    def __init__(self, engagement: Engagement, state: EngagementState) -> None:
        self._engagement, self._plan, self._state = engagement, engagement.plan, state

    # what starts one

    def hear(self, signal: Signal, now: datetime) -> None:
        """Start what waits for this event; each follow-up is started once."""
        for place, follow_up in enumerate(self._plan.follow_ups, 1):
            if follow_up.on is signal:
                self._start(place, now)

    def hear_ats(self, word: str, now: datetime) -> None:
        """Start what waits for this word of the tenant's system."""
        for place, follow_up in enumerate(self._plan.follow_ups, 1):
            if isinstance(follow_up.on, AtsRule) and follow_up.on.ats == word:
                self._start(place, now)

    def hear_answers(self, answers: dict[str, JsonValue], now: datetime, *, of_flow: bool) -> bool:
        """Start what waits for one of these answers. True when there is any, so that they do not end the engagement.

        What has left or was skipped does not wait any more: the same answer again is an answer like every other.
        """
        if self._state.settlement is not None:
            return False
        places = [
            place
            for place, follow_up in enumerate(self._plan.follow_ups, 1)
            if isinstance(follow_up.on, AnswerRule)
            and follow_up.on.is_of_text is not of_flow
            and follow_up.on.matches(answers)
            and place not in self._state.finished_follow_ups
        ]
        for place in places:
            self._start(place, now, by_answer=True)
        if places and of_flow:
            self._state.kept_answers |= answers
            self._state.sends_before_answer = len(self._state.sends)
        return bool(places)

    def _start(self, place: int, now: datetime, *, by_answer: bool = False) -> None:
        state, delay = self._state, self._plan.follow_ups[place - 1].delay
        known = place in state.finished_follow_ups or any(s.place == place for s in state.started_follow_ups)
        if known or state.settlement is not None:
            return
        if now + delay >= self._ends_at:
            state.finished_follow_ups.append(place)
            state.log(now, "too-late", f"follow-up {place} skipped: the engagement is over before it is due")
            return
        state.started_follow_ups.append(StartedFollowUp(place=place, since=now, heard=state.heard, by_answer=by_answer))
        due = f"due in {spoken(delay)}" if delay else "due at once"
        state.log(now, "signal", f"{self.cause(place)}: follow-up {place} is {due}")

    def cause(self, place: int) -> str:
        """What starts this follow-up, in words. An answer's value is the candidate's and is not told."""
        follow_up = self._plan.follow_ups[place - 1]
        match follow_up.on:
            case None:
                return f"nothing came for {spoken(follow_up.delay)}"
            case AnswerRule():
                return f"the answer to {follow_up.on.field} is one that the plan follows up"
            case AtsRule():
                return f"the ATS said {follow_up.on.ats}"
            case _:
                return _HEARD[follow_up.on]

    # what is due

    def next_move(self, now: datetime) -> NextMove:
        """What happens next, and when: the earliest of what has been started and of what time drives."""
        state = self._state
        if state.failed_run_since is not None:
            at = state.failed_run_since + self._engagement.timing.failure_settle
            return NextMove(Move.FAILED_RUN, at, "the failed flow run to explain itself")
        if state.failed_free_form() is not None and now < self._ends_at:
            return NextMove(Move.TEMPLATE, now, "")
        due = [move for move in (*self._started(), *self._timed()) if not self._comes_too_late(move.at)]
        if due:
            return min(due, key=lambda move: (move.at, move.place))
        if state.kept_answers and not self._asked_again():
            return NextMove(Move.ANSWERED, now, "")
        return self._silence(now)

    def _started(self) -> list[NextMove]:
        total = len(self._plan.follow_ups)
        return [
            NextMove(
                Move.FOLLOW_UP,
                self._state.deadline(started.since, self._plan.follow_ups[started.place - 1].delay),
                f"follow-up {started.place} of {total} to be due",
                started.place,
            )
            for started in self._state.started_follow_ups
        ]

    def _timed(self) -> list[NextMove]:
        """The next one that time drives. While an answer is being followed up nobody is reminded of anything."""
        state, timed = self._state, self._plan.timed()
        if state.follow_ups_done >= len(timed) or any(s.by_answer for s in state.started_follow_ups):
            return []
        if state.kept_answers and not self._asked_again():
            return []
        place = timed[state.follow_ups_done]
        at = state.deadline(self._last_step(), self._plan.follow_ups[place - 1].delay)
        told = f"an answer, else follow-up {place} of {len(self._plan.follow_ups)}"
        return [NextMove(Move.FOLLOW_UP, at, told, place)]

    def _silence(self, now: datetime) -> NextMove:
        plan = self._plan
        at = min(self._state.deadline(self._last_step(), plan.silence.after), self._ends_at)
        if self._no_run_can_answer():
            at = min(at, now)
        then = "hand over" if plan.silence.end is LastEnd.HAND_OVER else "close as no reply"
        if plan.fallback is not None:
            then = f"go on on {plan.fallback.line} where nothing arrived, else {then}"
        return NextMove(Move.SILENCE, at, f"an answer, else {then}")

    def _last_step(self) -> datetime:
        state = self._state
        known = [at for at in (state.last_message_at, state.last_step_at) if at is not None]
        return max(known, default=state.started_at)

    @property
    def _ends_at(self) -> datetime:
        return self._state.started_at + self._plan.longest

    def _comes_too_late(self, at: datetime) -> bool:
        """Whether the engagement is over before. Waits alone cannot reach past its end; signals and pauses can."""
        state = self._state
        moved = bool(state.earlier_pauses) or any(f.on is not None for f in self._plan.follow_ups)
        return state.pause is not None or (moved and at >= self._ends_at)

    def _asked_again(self) -> bool:
        """Whether a flow left after the answers that are kept, so that there is something to wait for."""
        later = self._state.sends[self._state.sends_before_answer or 0 :]
        return any(send.with_flow and send.state in _LEFT for send in later)

    def _no_run_can_answer(self) -> bool:
        """Every flow run of ours timed out at the provider, so waiting longer brings nothing."""
        runs = [s.run_status for s in self._state.sends_here if s.with_flow]
        return bool(runs) and all(status is FlowRunStatus.TIMED_OUT for status in runs)

    # whether it may leave

    def objection(self, place: int) -> Objection | None:
        """Why this follow-up must not leave now; None when it may."""
        follow_up = self._plan.follow_ups[place - 1]
        if place in self._state.finished_follow_ups:
            return Objection("done", "it has left or was skipped already")
        return self._unmet(place, follow_up) or self._unpaid(follow_up)

    def objection_again(self, place: int) -> Objection | None:
        """The same for the template of one that left without a template and did not arrive."""
        follow_up = self._plan.follow_ups[place - 1]
        return self._unmet(place, follow_up) or self._unpaid(follow_up)

    def _unmet(self, place: int, follow_up: FollowUp) -> Objection | None:
        state, reason = self._state, ""
        latest = self._latest_sent()
        match follow_up.when:
            case Condition.NOTHING_CAME if state.heard > self._heard_until(place):
                reason = "the candidate wrote or answered meanwhile"
            case Condition.FLOW_STARTED_NOT_FINISHED if not self._flow_is_under_way():
                reason = "no flow is under way"
            case Condition.DELIVERED_NOT_READ if latest is None or latest.message_status is not MessageStatus.DELIVERED:
                known = latest.message_status if latest is not None else None
                told = f"is {known}" if known else "is not known to have arrived"
                reason = f"our latest message {told}; this one is for a message that was delivered and not read"
            case _:
                return None
        return Objection(f"when-{follow_up.when}", reason)

    def _unpaid(self, follow_up: FollowUp) -> Objection | None:
        budget = self._plan.budget
        if budget is None:
            return None
        spent = [send for send in self._state.sends if send.may_have_arrived]
        if budget.messages is not None and len(spent) >= budget.messages:
            return Objection("budget-messages", f"the budget of {budget.messages} messages is spent")
        if budget.money is None:
            return None
        price = self.price(follow_up.template)
        if price is None:
            return Objection("budget-money", "the price table has no price for this message")
        total = sum((send.price or Decimal(0) for send in spent), start=price)
        if total > budget.money:
            text = f"with it {total} {budget.currency} would be spent, the budget is {budget.money} {budget.currency}"
            return Objection("budget-money", text)
        return None

    def price(self, template: TemplateRef, form: MessageForm | None = None) -> Decimal | None:
        """What a message costs by the plan's table; None where it has none, or does not say.

        As long as nobody knows in which form it leaves, what the template costs. Without one it costs what the table
        says of ``SERVICE``, else nothing.
        """
        if self._plan.budget is None:
            return None
        if form is MessageForm.FREE_FORM:
            return self._plan.budget.price(SERVICE, self._engagement.country) or Decimal(0)
        known = self._state.template_categories.get(f"{template.name}:{template.language}", "")
        return self._plan.budget.price(known or template.category or "", self._engagement.country)

    def _latest_sent(self) -> SendRecord | None:
        return next((send for send in reversed(self._state.sends) if send.state is LedgerState.SENT), None)

    def _flow_is_under_way(self) -> bool:
        return any(send.with_flow and send.run_status is FlowRunStatus.RUNNING for send in self._state.sends)

    def _heard_until(self, place: int) -> int:
        started = next((s for s in self._state.started_follow_ups if s.place == place), None)
        return started.heard if started is not None else self._state.heard_before

    # what is over

    def finish(self, place: int, now: datetime) -> None:
        """This follow-up has left or was skipped; the next wait counts from here."""
        state = self._state
        if self._plan.follow_ups[place - 1].on is None:
            state.follow_ups_done += 1
        else:
            state.finished_follow_ups.append(place)
            state.started_follow_ups = [s for s in state.started_follow_ups if s.place != place]
        state.last_step_at = now

    def left(self) -> int:
        """How many may still leave: those that time drives, and those whose signal came."""
        return max(len(self._plan.timed()) - self._state.follow_ups_done, 0) + len(self._state.started_follow_ups)


_HEARD = {
    Signal.FLOW_STARTED: "the flow started",
    Signal.DELIVERED: "the message was delivered",
    Signal.READ: "the message was read",
    Signal.TEXT: "the candidate wrote",
}


def form_in_words(receipt: SendReceipt, now: datetime) -> str:
    """Why a message left with or without a template; empty where the plan left no choice."""
    ago = now - receipt.inbound_at if receipt.inbound_at is not None else None
    wrote = f"wrote {spoken(timedelta(minutes=ago // timedelta(minutes=1)))} ago" if ago is not None else ""
    match receipt.form:
        case MessageForm.FREE_FORM:
            return f"the candidate {wrote}" if wrote else "the candidate wrote lately"
        case MessageForm.TEMPLATE:
            return f"the 24-hour window is closed, the candidate {wrote or 'has not written to this line'}"
        case _:
            return ""


def spoken(length: timedelta) -> str:
    """A length of time as people read it."""
    minutes, seconds = divmod(int(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "day"), (hours, "hour"), (minutes, "minute"), (seconds, "second"))
    return " ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in parts if n) or "a moment"
