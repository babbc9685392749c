"""Which engagements may go on by a new version of their plan: never to say anything twice, never to undo what was."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.calls import MigratePlan
from domain.contacts import Candidate
from domain.engagements import Engagement, FallbackRoute, Timing
from domain.fallback import Leaving
from domain.following import Following, Move
from domain.migration import Migration
from domain.outcomes import EngagementOutcome
from domain.plans import Plan, Signal
from domain.send_record import SendRecord
from domain.sends import LedgerState
from domain.state import EngagementState
from tests.unit.domain.test_reading import NOW, engagement

HOUR = timedelta(hours=1)
Raw = dict[str, Any]


def step(template: str = "nudge_v1", *, after: int | None = 24, **more: object) -> Raw:
    its: Raw = {"template": {"name": template, "language": "nl"}, **more}
    return its if after is None else {"after": f"{after}h", **its}


OPENING = {"template": {"name": "intake_v1", "language": "nl"}, "flow": {"id": "f"}}


def plan(*ups: Raw, version: int = 1, **more: object) -> Plan:
    whole = {"name": "intake", "version": version, "opening": OPENING, "follow_ups": ups, "longest": "9000d"}
    return Plan.model_validate({**whole, "silence": {"after": "50h"}, **more})


@dataclass
class Way:
    """An engagement on its way, played by hand: every message leaves or is skipped as the test says."""

    plan: Plan
    state: EngagementState = field(default_factory=lambda: EngagementState(started_at=NOW, admitted=True))
    now: datetime = NOW
    over: list[int] = field(default_factory=list)

    @property
    def engagement(self) -> Engagement:
        return self.state.applied_to(engagement().model_copy(update={"plan": self.plan, "country": "NL"}))

    @property
    def following(self) -> Following:
        return Following(self.engagement, self.state)

    def open(self) -> "Way":
        return self.send("opening")

    def send(self, name: str, state: LedgerState = LedgerState.SENT, price: Decimal | None = None) -> "Way":
        record = SendRecord(
            key=f"{name}/1", step=name, template="t", with_flow=False, since=self.now, state=state, price=price
        )
        self.state.sends.append(record)
        self.state.last_message_at = self.now
        return self

    def hear(self, *signals: Signal) -> "Way":
        for signal in signals:
            self.following.hear(signal, self.now)
        return self

    def act(self, *, leaves: bool = True) -> bool:
        """What is due next leaves or is skipped; False when nothing more follows."""
        move = self.following.next_move(self.now)
        if move.move is not Move.FOLLOW_UP:
            return False
        self.now = max(self.now, move.at)
        if leaves:
            self.send(f"follow-up-{move.place}")
        self.following.finish(move.place, self.now)
        self.over.append(move.place)
        return True

    def to(self, new: Plan, **more: Any) -> Migration:
        return Migration(self.engagement, self.state, new, self.now, **more)

    def move(self, new: Plan) -> None:
        command = MigratePlan(command_id="m", actor="olga", reason="better words", plan=new)
        self.to(new).carry_out(command)


# rules, whatever the plans

UPS = st.builds(
    step,
    st.sampled_from(["a", "b"]),
    after=st.integers(1, 90),
    on=st.sampled_from([None, Signal.DELIVERED, Signal.READ, Signal.TEXT]),
)
LISTS = st.lists(UPS, max_size=4)
HEARD = st.lists(st.sampled_from(list(Signal)), max_size=3)


@st.composite
def edits(draw: st.DrawFn) -> tuple[list[Raw], list[Raw]]:
    """A list of follow-ups and what somebody made of it: most of it stays, so that many edits are allowed."""
    old = draw(LISTS)
    new = list(old)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(new)))
        match draw(st.sampled_from(["insert", "append", "drop", "change", "wait"])):
            case "insert":
                new.insert(at, draw(UPS))
            case "append":
                new.append(draw(UPS))
            case "drop" if new:
                new.pop(at % len(new))
            case "change" if new:
                new[at % len(new)] = draw(UPS)
            case "wait" if new:
                new[at % len(new)] = {**new[at % len(new)], "after": f"{draw(st.integers(1, 90))}h"}
            case _:
                pass
    return old, new


def walked(old: list[Raw], heard: list[Signal], acts: list[bool]) -> Way:
    way = Way(plan(*old)).open().hear(*heard)
    for leaves in acts:
        if not way.act(leaves=leaves):
            break
    return way


@settings(deadline=None)
@given(edits(), HEARD, st.lists(st.booleans(), max_size=4), HEARD)
def test_what_left_or_was_skipped_never_comes_again_after_a_move(
    lists: tuple[list[Raw], list[Raw]], heard: list[Signal], acts: list[bool], later: list[Signal]
) -> None:
    old, new = lists
    way, its = walked(old, heard, acts), plan(*new, version=2)
    before = list(way.over)
    if way.to(its).reasons():
        return
    way.move(its)
    way.hear(*later)
    while way.act():
        assert len(way.over) <= len(before) + len(new), "it never ends"
    assert len(set(way.over)) == len(way.over), "each leaves once"
    for place in before:
        assert new[place - 1] | {"after": ""} == old[place - 1] | {"after": ""}, "what was stays what it was"
    timed = [place for place, up in enumerate(new, 1) if up["on"] is None]
    assert [place for place in way.over if place in timed] == timed, "those driven by time all come, in their order"


@settings(deadline=None)
@given(LISTS, HEARD, st.lists(st.booleans(), max_size=4), LISTS)
def test_what_is_added_behind_all_others_is_always_allowed(
    old: list[Raw], heard: list[Signal], acts: list[bool], more: list[Raw]
) -> None:
    assert walked(old, heard, acts).to(plan(*old, *more, version=2)).reasons() == ()


@settings(deadline=None)
@given(LISTS, HEARD, st.lists(st.booleans(), max_size=4), st.integers(0, 30))
def test_longer_waits_never_make_the_next_move_come_earlier(
    old: list[Raw], heard: list[Signal], acts: list[bool], more: int
) -> None:
    way = walked(old, heard, acts)
    due = way.following.next_move(way.now)
    longer = [{**up, "after": f"{int(up['after'][:-1]) + more}h"} for up in old]
    way.move(plan(*longer, version=2, silence={"after": f"{50 + more}h"}))
    moved = way.following.next_move(way.now)
    assert moved.at >= due.at
    if not more:
        assert moved == due, "a version that changes nothing changes nothing"


@settings(deadline=None)
@given(LISTS, HEARD, st.lists(st.booleans(), max_size=4), st.data())
def test_a_follow_up_that_is_over_is_never_changed(
    old: list[Raw], heard: list[Signal], acts: list[bool], data: st.DataObject
) -> None:
    way = walked(old, heard, acts)
    if not way.over:
        return
    at = data.draw(st.sampled_from(way.over)) - 1
    others: list[Raw] = [
        {"template": {"name": "other", "language": "nl"}},
        {"on": "flow-started"},
        {"flow": {"id": "f"}},
    ]
    other = data.draw(st.sampled_from(others))
    new = [up | other if n == at else up for n, up in enumerate(old)]
    assert any(f"follow-up {at + 1} " in reason for reason in way.to(plan(*new, version=2)).reasons())
    assert way.to(plan(*old[:at], version=2)).reasons()


# one by one

NUDGE, SECOND = step(), step("second_v1")


def waiting() -> Way:
    return Way(plan(NUDGE, SECOND)).open()


def opening_held() -> Way:
    return Way(plan(NUDGE)).send("opening", LedgerState.NOT_SENT)


def queued() -> Way:
    return Way(plan(NUDGE), EngagementState(started_at=NOW))


def followed_up() -> Way:
    way = waiting()
    way.act()
    return way


def skipped() -> Way:
    way = waiting()
    way.act(leaves=False)
    return way


def on_its_way() -> Way:
    return waiting().send("follow-up-1", LedgerState.UNKNOWN)


def started() -> Way:
    return Way(plan(step(on="read"))).open().hear(Signal.READ)


def read_and_followed_up() -> Way:
    way = started()
    way.act()
    return way


def ended() -> Way:
    way = waiting()
    way.state.settle(outcome=EngagementOutcome.STOPPED, rule="stop", reason="r", at=NOW)
    return way


def late() -> Way:
    way = waiting()
    way.now += 5 * 24 * HOUR
    return way


OTHER_OPENING = {**OPENING, "template": {"name": "intake_v2", "language": "nl"}}
PRICES = [{"category": "UTILITY", "price": "3", "country": "NL"}, {"category": "UTILITY", "price": "1"}]
MONEY = {"money": "5", "currency": "EUR", "prices": PRICES}
PRICED = {**OPENING, "template": {**OPENING["template"], "category": "UTILITY"}}
PRICED_NUDGE = {**NUDGE, "template": {**NUDGE["template"], "category": "UTILITY"}}


@pytest.mark.parametrize(
    ("way", "new", "reason"),
    [
        (waiting, plan(NUDGE, SECOND), "it goes by version 1 already: version 1 is not a later one"),
        (waiting, plan(NUDGE, version=2, name="other"), "it goes by another plan: intake, not other"),
        (ended, plan(NUDGE, version=2), "the engagement is over: STOPPED"),
        (waiting, plan(version=2, opening=OTHER_OPENING), "the opening has left, and is another message"),
        (waiting, plan(version=2, opening=OPENING | {"flow": {"id": "g"}}), "the opening has left, and is another"),
        (opening_held, plan(version=2, opening=OTHER_OPENING), "the opening is on its way, and is another message"),
        (opening_held, plan(version=2, longest="30d"), "the opening is on its way: longest can change when it has"),
        (followed_up, plan(version=2), "follow-up 1 has left, and the new plan has none at that place"),
        (followed_up, plan(SECOND, NUDGE, version=2), "follow-up 1 has left, and is another message"),
        (skipped, plan(SECOND, version=2), "follow-up 1 was skipped, and is another message"),
        (skipped, plan(step(on="read"), version=2), "follow-up 1 was skipped, and is started by something else"),
        (on_its_way, plan(SECOND, version=2), "follow-up 1 is on its way, and is another message"),
        (started, plan(version=2), "follow-up 1 waits since its signal came, and the new plan has no such"),
        (started, plan(step(on="text"), version=2), "follow-up 1 waits since its signal came, and the new plan has no"),
        (
            read_and_followed_up,
            plan(step(on="read"), version=2, budget={"messages": 1}),
            "the budget of 1 messages is less than the 2",
        ),
        (late, plan(version=2, longest="4d"), "it would be over: longest is 4 days, and it began 2026-03-02 09:00 UTC"),
        (
            waiting,
            plan(step(template="n", after=1, flow={}), version=2),
            "follow_ups.0.flow.id: missing: name the flow that the candidate enters",
        ),
        (
            waiting,
            plan({**NUDGE, "template": {**NUDGE["template"], "variables": ["first_name"]}}, version=2),
            "the candidate has no value for first_name, and a template of the new plan needs it",
        ),
        (followed_up, plan(PRICED_NUDGE, version=2, opening=PRICED, budget=MONEY), "the budget of 5 EUR is less than"),
    ],
)
def test_what_speaks_against_a_move_is_said(way: Callable[[], Way], new: Plan, reason: str) -> None:
    reasons = way().to(new).reasons()
    assert any(reason in one for one in reasons), reasons


def test_every_reason_is_said_at_once() -> None:
    new = plan(step("x", flow={}), version=2, opening=OTHER_OPENING, longest="9d")
    way = followed_up()
    way.now += 30 * 24 * HOUR
    assert len(way.to(new, from_version=3).reasons()) == 5


def test_a_version_that_somebody_else_moved_it_to_is_not_moved_on_unseen() -> None:
    way, third = waiting(), plan(NUDGE, SECOND, version=3)
    assert way.to(third, from_version=2).reasons() == ("it goes by version 1, not by 2",)
    assert way.to(third, from_version=1).reasons() == ()


def test_a_follow_up_that_is_being_prepared_stays_as_it_is() -> None:
    assert waiting().to(plan(SECOND, version=2)).reasons() == ()
    (reason,) = waiting().to(plan(SECOND, version=2), acting_on=1).reasons()
    assert reason == "follow-up 1 is on its way, and is another message in the new plan"


def test_before_the_person_is_free_everything_may_change() -> None:
    view = queued().to(plan(version=2, opening=OTHER_OPENING, longest="20d")).view()
    assert (view.may_move, view.changes) == (
        *(True,),
        ("the opening is another message", "follow-up 1 is left out", "longest: 9000 days → 20 days"),
    )
    assert view.before.what == "the opening, when the person is free"


def test_what_the_provider_of_its_line_cannot_do_is_refused() -> None:
    way = waiting()
    deaf = way.engagement.route.capabilities.model_copy(update={"tells_arrivals": False})
    its = way.engagement.model_copy(update={"route": way.engagement.route.model_copy(update={"capabilities": deaf})})
    (reason,) = Migration(its, way.state, plan(step(on="read"), version=2), NOW).reasons()
    assert (
        reason == "follow_ups.0.on: can never be reached: this line's provider does not tell what was delivered or read"
    )


def over_to(line: str) -> Raw:
    return {"after": "50h", "then": "fallback-line", "fallback": {"line": line, "opening": OPENING, "silence": SILENT}}


SILENT = {"after": "9d"}


def test_another_line_is_gone_to_only_if_it_was_looked_up_when_it_began() -> None:
    way = waiting()
    (reason,) = way.to(plan(version=2, silence=over_to("second"))).reasons()
    assert reason == "silence.fallback.line: second is not the line that was looked up when it began"
    second = way.engagement.route.model_copy(update={"line": "second"})
    its = way.engagement.model_copy(update={"fallback": FallbackRoute(route=second, timing=Timing())})
    assert Migration(its, way.state, plan(version=2, silence=over_to("second")), NOW).reasons() == ()


def test_on_its_way_to_another_line_it_goes_by_what_was_said_of_that() -> None:
    way = waiting()
    way.state.leaving = Leaving(outcome=EngagementOutcome.NO_REPLY, rule="silence", reason="r", at=NOW)
    (reason,) = way.to(plan(version=2)).reasons()
    assert reason == "it goes on on the fallback line, by what the plan said of that when it went there"


def test_a_value_that_the_candidate_has_is_enough() -> None:
    way = waiting()
    its = way.engagement.model_copy(
        update={"candidate": Candidate(phone="+31612345678", variables={"first_name": "Ada"})}
    )
    new = plan({**NUDGE, "template": {**NUDGE["template"], "variables": ["first_name"]}}, version=2)
    assert Migration(its, way.state, new, NOW).reasons() == ()


def test_what_left_before_there_was_a_budget_counts_in_it() -> None:
    way, new = waiting(), plan(PRICED_NUDGE, version=2, opening=PRICED, budget=MONEY)
    way.move(new)
    objection = way.following.objection(1)
    assert objection is not None
    assert objection.reason == "with it 6 EUR would be spent, the budget is 5 EUR"


def test_the_view_says_what_changes_and_what_comes_next_instead() -> None:
    view = waiting().to(plan(step(after=48), SECOND, step("third_v1"), version=2, silence={"after": "9d"})).view()
    assert (view.version, view.to_version, view.may_move) == (1, 2, True)
    assert view.changes == ("follow-up 1: after", "follow-up 3 is new", "silence: after")
    assert (view.before.what, view.before.at) == ("an answer, else follow-up 1 of 2", NOW + 24 * HOUR)
    assert view.after is not None
    assert (view.after.what, view.after.at) == ("an answer, else follow-up 1 of 3", NOW + 48 * HOUR)


def test_what_would_be_due_at_once_is_said_to_be() -> None:
    way = late()
    after = way.to(plan(version=2)).view().after
    assert after is not None
    assert (after.what, after.at) == ("an answer, else close as no reply, at once", way.now)


def test_the_log_says_who_moved_it_why_and_what_comes_next_instead() -> None:
    way = waiting()
    way.move(plan(step(after=48), SECOND, version=2))
    decision = way.state.decisions[-1]
    assert (decision.rule, decision.actor) == ("migrate-plan", "olga")
    assert decision.text == (
        "plan intake v1 → v2: better words; next: an answer, else follow-up 1 of 2 (2026-03-03 09:00 UTC)"
        " → an answer, else follow-up 1 of 2 (2026-03-04 09:00 UTC)"
    )


def test_a_move_is_carried_over_to_the_next_run() -> None:
    way = waiting()
    way.move(plan(version=2))
    carried = EngagementState.model_validate_json(way.state.carried().model_dump_json())
    assert carried.applied_to(engagement()).plan.version == 2
