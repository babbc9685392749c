"""Whether an engagement may go on by a new version of its plan. Pure: judges state by an instant.

What has happened stays true: what left, was skipped or is on its way is the same message at the same place in the new
plan, and started by the same thing. All that is still to come may change.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from domain.calls import MigratePlan
from domain.engagements import Engagement
from domain.fitting import misfits, misfits_of_fallback, unpriced, without_value
from domain.following import Following, Move, spoken
from domain.model import Instant, Model, Reference, Written
from domain.names import MIGRATE_PLAN
from domain.plans import FollowUp, Opening, Plan, TemplateRef
from domain.send_record import SendRecord
from domain.sends import LedgerState
from domain.state import EngagementState

_LEFT = (LedgerState.SENT, LedgerState.UNKNOWN)
_OPENING = "opening"
_FREE = {"after", "when", "expires", "on"}
"""What is not the message itself."""


class NextStep(Model):
    """What comes next of itself, and when; without ``at`` it hangs on something else than time."""

    what: str
    at: Instant | None = None


class MigrationView(Model):
    """What a new plan would mean for one engagement: every reason against it, or what changes."""

    reference: Reference
    plan: str
    version: int
    """The version that it goes by now."""
    to_version: int
    stage: str
    may_move: bool
    reasons: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    """What is different in the new plan, a line each."""
    before: NextStep
    after: NextStep | None = None
    """None where it may not move."""


class Migration:
    """One engagement and the plan that it is to go on by.

    ``acting_on`` is the place of the follow-up that is being prepared or sent right now, 0 for none.
    """

    def __init__(
        self,
        engagement: Engagement,
        state: EngagementState,
        plan: Plan,
        now: datetime,
        *,
        from_version: int | None = None,
        acting_on: int = 0,
    ) -> None:
        self._engagement, self._state, self._new, self._now = engagement, state, plan, now
        self._old, self._from_version, self._acting_on = engagement.plan, from_version, acting_on
        self._moved = engagement.model_copy(update={"plan": plan})

    def reasons(self) -> tuple[str, ...]:
        """Everything that speaks against it; nothing when it may move."""
        if self._state.settlement is not None:
            return (f"the engagement is over: {self._state.settlement.outcome}",)
        if self._state.went_over is not None or self._state.leaving is not None:
            return ("it goes on on the fallback line, by what the plan said of that when it went there",)
        found = (*self._of_version(), *self._of_opening(), *self._of_follow_ups(), *self._of_limits())
        return (*found, *self._of_fitting())

    def view(self) -> MigrationView:
        """The reasons, or what changes."""
        reasons = self.reasons()
        return MigrationView(
            reference=self._engagement.reference,
            plan=self._old.name,
            version=self._old.version,
            to_version=self._new.version,
            stage=self._state.stage.value,
            may_move=not reasons,
            reasons=reasons,
            changes=() if reasons else tuple(changes(self._old, self._new)),
            before=self._next(self._engagement),
            after=None if reasons else self._next(self._moved),
        )

    def carry_out(self, command: MigratePlan) -> str:
        """Move it and say so in the decision log; only where there are no reasons against it. Gives the log's words."""
        before, after = self._next(self._engagement), self._next(self._moved)
        then = _told(before) if after == before else f"{_told(before)} → {_told(after)}"
        moved = f"plan {self._new.name} v{self._old.version} → v{self._new.version}"
        prices = self._prices() if self._new.budget is not None and self._new.budget.money is not None else {}
        self._state.move_to(self._new, {key: price for key, price in prices.items() if price is not None})
        self._state.log(self._now, MIGRATE_PLAN, f"{moved}: {command.reason}; next: {then}", command.actor)
        return f"{moved}; next: {_told(after)}"

    # reasons

    def _of_version(self) -> Iterator[str]:
        old, new = self._old, self._new
        if new.name != old.name:
            yield f"it goes by another plan: {old.name}, not {new.name}"
        elif self._from_version not in (None, old.version):
            yield f"it goes by version {old.version}, not by {self._from_version}"
        elif new.version <= old.version:
            yield f"it goes by version {old.version} already: version {new.version} is not a later one"

    def _of_opening(self) -> Iterator[str]:
        said = self._opening_said()
        if said and _message(self._new.opening) != _message(self._old.opening):
            yield f"the opening {said}, and is another message in the new plan"

    def _of_follow_ups(self) -> Iterator[str]:
        over = self._over()
        for place, said in sorted(over.items()):
            old, new = self._old.follow_ups[place - 1], _at(self._new, place)
            if new is None:
                yield f"follow-up {place} {said}, and the new plan has none at that place"
            elif _message(new) != _message(old):
                yield f"follow-up {place} {said}, and is another message in the new plan"
            elif new.on != old.on:
                yield f"follow-up {place} {said}, and is started by something else in the new plan"
        for started in self._state.started_follow_ups:
            new = _at(self._new, started.place)
            if started.place not in over and (new is None or new.on != self._old.follow_ups[started.place - 1].on):
                yield f"follow-up {started.place} waits since its signal came, and the new plan has no such follow-up"
        timed = tuple(place for place in self._old.timed() if place in over)
        if self._new.timed()[: len(timed)] != timed:
            yield "a follow-up driven by time stands in the new plan before one that is over: add it behind those"

    def _of_limits(self) -> Iterator[str]:
        state, new = self._state, self._new
        on_its_way = self._on_its_way()
        if state.started_at + new.longest <= self._now:
            began = f"{state.started_at:%Y-%m-%d %H:%M} UTC"
            yield f"it would be over: longest is {spoken(new.longest)}, and it began {began}"
        elif on_its_way and new.longest != self._old.longest:
            yield f"{on_its_way} is on its way: longest can change when it has left"
        if new.budget is None:
            return
        spent = [send for send in state.sends if send.may_have_arrived]
        if new.budget.messages is not None and len(spent) > new.budget.messages:
            yield f"the budget of {new.budget.messages} messages is less than the {len(spent)} that left"
        if new.budget.money is not None:
            prices = self._prices()
            unknown = sorted({send.step for send in spent if prices[send.key] is None})
            total = sum((prices[send.key] or Decimal(0) for send in spent), start=Decimal(0))
            if unknown:
                yield f"the new plan's price table has no price for what left: {', '.join(unknown)}"
            elif total > new.budget.money:
                currency = new.budget.currency
                yield f"the budget of {new.budget.money} {currency} is less than the {total} {currency} spent"

    def _of_fitting(self) -> Iterator[str]:
        for place, text in misfits(self._new, self._engagement.route.capabilities):
            yield f"{'.'.join(map(str, place))}: {text}"
        resolved, planned = self._engagement.fallback, self._new.fallback
        if planned is not None and (resolved is None or resolved.route.line != planned.line):
            yield f"silence.fallback.line: {planned.line} is not the line that was looked up when it began"
        elif resolved is not None:
            for place, text in misfits_of_fallback(self._new, resolved.route.capabilities):
                yield f"{'.'.join(map(str, place))}: {text}"
        missing = unpriced(self._new, self._engagement.country)
        if missing:
            yield f"budget.prices: no price for the country of this number: {', '.join(missing)}"
        for name in without_value(self._new, self._engagement.candidate.variables):
            yield f"the candidate has no value for {name}, and a template of the new plan needs it"

    # what has happened

    def _opening_said(self) -> str:
        """What became of the opening, in words; nothing while it has not begun."""
        record = self._state.send_of_step(_OPENING)
        if record is not None and record.state is LedgerState.SENT:
            return "has left"
        return "is on its way" if self._state.admitted or record is not None else ""

    def _over(self) -> dict[int, str]:
        """Places of follow-ups that are over or on their way, each with what became of it in words."""
        state = self._state
        finished = {*self._old.timed()[: state.follow_ups_done], *state.finished_follow_ups}
        left = {place for place in finished if any(s.state in _LEFT for s in state.sends if s.step == _step(place))}
        again = {place for place in finished if any(s.free_form_failed for s in state.sends if s.step == _step(place))}
        begun = {n for n, _ in enumerate(self._old.follow_ups, 1) if state.send_of_step(_step(n)) is not None}
        on_their_way = (begun | {self._acting_on} - {0}) - finished | again - left
        said = {place: "has left" if place in left else "was skipped" for place in finished}
        return said | dict.fromkeys(on_their_way, "is on its way")

    def _on_its_way(self) -> str:
        if self._opening_said() == "is on its way":
            return "the opening"
        places = [place for place, said in self._over().items() if said == "is on its way"]
        return f"follow-up {places[0]}" if places else ""

    def _prices(self) -> dict[str, Decimal | None]:
        """What each message that left costs by the new plan: what it was counted at in the same currency, else anew."""
        old, new = self._old.budget, self._new.budget
        same = old is not None and new is not None and old.currency == new.currency
        following = Following(self._moved, self._state)

        def price(send: SendRecord) -> Decimal | None:
            template = _template(self._new, send.step)
            known = send.price if same else None
            return known if known is not None or template is None else following.price(template, send.receipt.form)

        return {send.key: price(send) for send in self._state.sends if send.state in _LEFT}

    # in words

    def _next(self, engagement: Engagement) -> NextStep:
        on_its_way = self._on_its_way()
        if on_its_way:
            return NextStep(what=f"{on_its_way}, which is on its way")
        if not self._opening_said():
            return NextStep(what="the opening, when the person is free")
        state = self._state
        after_pause = "" if state.pause is None else ", later by the pause"
        move = Following(engagement, state.model_copy(update={"pause": None})).next_move(self._now)
        if move.move is Move.ANSWERED:
            return NextStep(what="its end: the candidate answered")
        at_once = ", at once" if move.at <= self._now and not after_pause else ""
        return NextStep(what=f"{move.waiting_for}{at_once}{after_pause}", at=max(move.at, self._now))


def changes(old: Plan, new: Plan) -> Iterator[str]:
    """What is different in the new version of a plan, a line each."""
    if _message(old.opening) != _message(new.opening):
        yield "the opening is another message"
    for place in range(1, max(len(old.follow_ups), len(new.follow_ups)) + 1):
        before, after = _at(old, place), _at(new, place)
        if before is None:
            yield f"follow-up {place} is new"
        elif after is None:
            yield f"follow-up {place} is left out"
        elif before != after:
            yield f"follow-up {place}: {', '.join(_differing(before, after))}"
    for name in Plan.model_fields:
        was, becomes = getattr(old, name), getattr(new, name)
        if name in ("name", "version", "opening", "follow_ups") or was == becomes:
            continue
        if isinstance(was, timedelta) and isinstance(becomes, timedelta):
            yield f"{name}: {spoken(was)} → {spoken(becomes)}"
        elif isinstance(was, Written) and isinstance(becomes, Written):
            yield f"{name}: {', '.join(_differing(was, becomes))}"
        else:
            yield f"{name} is another"


def _differing(old: Written, new: Written) -> list[str]:
    """Names of the members that differ between two of a kind."""
    return [name for name in type(new).model_fields if getattr(old, name) != getattr(new, name)]


def _told(step: NextStep) -> str:
    return step.what + (f" ({step.at:%Y-%m-%d %H:%M} UTC)" if step.at is not None else "")


def _at(plan: Plan, place: int) -> FollowUp | None:
    return plan.follow_ups[place - 1] if place <= len(plan.follow_ups) else None


def _step(place: int) -> str:
    return f"follow-up-{place}"


def _template(plan: Plan, step: str) -> TemplateRef | None:
    if step == _OPENING:
        return plan.opening.template
    return next((up.template for n, up in enumerate(plan.follow_ups, 1) if _step(n) == step), None)


def _message(step: Opening | FollowUp) -> dict[str, object]:
    """What reaches the phone: neither when and whether it leaves, nor what its template is priced as."""
    told = step.model_dump(exclude=_FREE)
    template = told.get("template")
    return told | {"template": {**template, "category": None}} if isinstance(template, dict) else told
