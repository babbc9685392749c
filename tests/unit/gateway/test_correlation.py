"""Which engagement an event belongs to, judged by what the store found."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.events import Ties
from domain.sends import LedgerState
from gateway.correlation import Attribution, attribute
from store.correlations import EXACT_TIES, Findings, SendTie, Sighting
from store.inbox_tables import EventState
from tests.unit.gateway.world import now

NOW = now()


def a_send(workflow: str, **changes: object) -> SendTie:
    values: dict[str, object] = {
        "send_key": f"{workflow}/opening/1",
        "workflow_id": workflow,
        "contact_id": "ct_1",
        "line": "nl-1",
        "state": LedgerState.SENT,
        "run_id": "",
        "message_id": "",
        "session_id": "",
        "flow_id": "flow-1",
        "template_id": "tpl-1",
        "claimed_at": NOW - timedelta(minutes=1),
        "is_open": True,
    }
    return SendTie(**(values | changes))  # type: ignore[arg-type]  # a test states only what matters


def seen(
    *, text: bool = False, run: bool = False, may_weaken: bool = True, senders: tuple[str, ...] = (), **ties: str
) -> Sighting:
    return Sighting(
        ties=Ties(**ties),
        senders=senders,
        occurred_at=NOW,
        may_fall_back=text,
        thread_may_tie=not run,
        may_weaken=may_weaken,
    )


def matched(verdict: Attribution) -> str:
    assert verdict.state is EventState.PENDING, verdict
    return verdict.workflow_id


def test_ties_that_name_different_engagements_park_the_event() -> None:
    found = Findings({("reference", "att_1"): [a_send("w1")], ("run_id", "r2"): [a_send("w2")]})
    verdict = attribute(seen(reference="att_1", run_id="r2"), found)
    assert (verdict.state, verdict.rule, verdict.workflow_id) == (EventState.PARKED, "ties-disagree", "")


def test_the_most_exact_tie_says_which_send_it_was() -> None:
    first, second = a_send("w1"), a_send("w1", send_key="w1/follow-up/1")
    found = Findings({("reference", "att_1"): [first], ("replied_to", "m2"): [second]})
    assert attribute(seen(reference="att_1", replied_to="m2"), found).send_key == first.send_key


def test_a_reference_that_is_not_stored_yet_is_not_overruled_by_a_thread() -> None:
    found = Findings(on_thread={"t1": [a_send("w1")]})
    verdict = attribute(seen(text=True, reference="att_unknown", thread_id="t1"), found)
    assert (verdict.state, verdict.rule) == (EventState.UNMATCHED, "reference-unknown")


def test_a_thread_ties_a_text_when_one_open_engagement_writes_there() -> None:
    closed, opened = a_send("w1", is_open=False), a_send("w2")
    assert matched(attribute(seen(text=True, thread_id="t1"), Findings(on_thread={"t1": [closed, opened]}))) == "w2"


def test_a_status_on_a_thread_where_all_is_over_comes_late_and_a_text_there_waits_for_a_reader() -> None:
    over = Findings(on_thread={"t1": [a_send("w1", is_open=False)]})
    status = attribute(seen(thread_id="t1"), over)
    assert (status.state, status.rule, status.workflow_id) == (EventState.LATE, "thread", "w1")
    assert attribute(seen(text=True, thread_id="t1"), over).state is EventState.UNMATCHED
    both = Findings(on_thread={"t1": [a_send("w1", is_open=False), a_send("w2", is_open=False)]})
    assert (attribute(seen(thread_id="t1"), both).state, attribute(seen(thread_id="t1"), both).workflow_id) == (
        EventState.LATE,
        "",
    )


def test_two_open_engagements_on_a_thread_leave_a_text_unmatched_for_good() -> None:
    verdict = attribute(seen(text=True, thread_id="t1"), Findings(on_thread={"t1": [a_send("w1"), a_send("w2")]}))
    assert (verdict.state, verdict.final) == (EventState.UNMATCHED, True)
    again = attribute(seen(text=True, thread_id="t1", may_weaken=False), Findings(on_thread={"t1": [a_send("w1")]}))
    assert again.state is EventState.UNMATCHED


def test_the_end_of_a_foreign_run_on_our_thread_is_nobodys() -> None:
    found = Findings(on_thread={"t1": [a_send("w1", run_id="ours")]})
    assert attribute(seen(run=True, run_id="foreign", thread_id="t1", flow_id="flow-1"), found).state is (
        EventState.UNMATCHED
    )


def test_a_run_belongs_to_the_one_send_whose_answer_was_lost() -> None:
    lost = a_send("w1", state=LedgerState.UNKNOWN)
    others = [a_send("w2", run_id="r2"), a_send("w3", state=LedgerState.UNKNOWN, flow_id="flow-2")]
    found = Findings(on_thread={"t1": [lost, *others]})
    assert matched(attribute(seen(run=True, run_id="r1", thread_id="t1", flow_id="flow-1"), found)) == "w1"


def test_a_run_that_ended_before_the_lost_send_is_not_its_run() -> None:
    found = Findings(on_thread={"t1": [a_send("w1", state=LedgerState.UNKNOWN, claimed_at=NOW + timedelta(minutes=5))]})
    sighting = seen(run=True, run_id="r1", thread_id="t1", flow_id="flow-1")
    assert attribute(sighting, found).state is EventState.UNMATCHED


def test_while_a_send_is_on_its_way_its_run_waits_for_the_answer() -> None:
    found = Findings(on_thread={"t1": [a_send("w1", state=LedgerState.CALLING)]})
    sighting = seen(run=True, run_id="r1", thread_id="t1", flow_id="flow-1")
    assert attribute(sighting, found).state is EventState.UNMATCHED


def test_addresses_of_two_people_park_a_text() -> None:
    found = Findings(contacts={"d1": "ct_1", "d2": "ct_2"}, to_contact={"ct_1": [a_send("w1")]})
    assert attribute(seen(text=True, senders=("d1", "d2")), found).state is EventState.PARKED


def test_who_wrote_to_one_line_means_no_engagement_of_another() -> None:
    found = Findings(contacts={"aa": "ct_1"}, to_contact={"ct_1": [a_send("w1", line="nl-1")]})
    text = seen(text=True, senders=("aa",))
    assert matched(attribute(text, found)) == "w1", "where the line is not known the only open engagement is meant"
    assert matched(attribute(text, found, "nl-1")) == "w1"
    assert attribute(text, found, "nl-2").state is EventState.UNMATCHED


def test_of_two_engagements_on_two_lines_the_line_that_was_written_to_decides() -> None:
    found = Findings(
        contacts={"aa": "ct_1"}, to_contact={"ct_1": [a_send("w1", line="nl-1"), a_send("w2", line="nl-2")]}
    )
    text = seen(text=True, senders=("aa",))
    assert attribute(text, found).state is EventState.UNMATCHED
    assert matched(attribute(text, found, "nl-2")) == "w2"


def test_an_exact_tie_outweighs_the_line_that_an_event_names() -> None:
    found = Findings({("reference", "att_1"): [a_send("w1", line="nl-1")]})
    assert matched(attribute(seen(reference="att_1"), found, "nl-2")) == "w1"


def test_a_form_answer_never_falls_back_to_a_person() -> None:
    found = Findings(contacts={"d1": "ct_1"}, to_contact={"ct_1": [a_send("w1")]})
    assert attribute(seen(senders=("d1",)), found).state is EventState.UNMATCHED


def test_an_old_text_is_not_the_answer_to_a_later_message() -> None:
    later = a_send("w1", claimed_at=NOW + timedelta(hours=1))
    found = Findings(contacts={"d1": "ct_1"}, to_contact={"ct_1": [later]})
    assert attribute(seen(text=True, senders=("d1",)), found).state is EventState.UNMATCHED


def test_a_send_that_reached_nobody_ties_nothing_by_address() -> None:
    found = Findings(contacts={"d1": "ct_1"}, to_contact={"ct_1": [a_send("w1", state=LedgerState.REJECTED)]})
    assert attribute(seen(text=True, senders=("d1",)), found).state is EventState.UNMATCHED


@given(
    named=st.dictionaries(st.sampled_from(EXACT_TIES), st.sampled_from(["w1", "w2", "w3"])),
    on_thread=st.sets(st.sampled_from(["w1", "w2", "w3"])),
    to_contact=st.sets(st.sampled_from(["w1", "w2", "w3"])),
    text=st.booleans(),
)
def test_an_event_goes_only_where_every_exact_tie_points(
    named: dict[str, str],
    on_thread: set[str],
    to_contact: set[str],
    text: bool,  # noqa: FBT001 - drawn
) -> None:
    found = Findings(
        sends={(tie, f"{tie}-1"): [a_send(workflow)] for tie, workflow in named.items()},
        on_thread={"t1": [a_send(workflow) for workflow in sorted(on_thread)]},
        contacts={"d1": "ct_1"},
        to_contact={"ct_1": [a_send(workflow) for workflow in sorted(to_contact)]},
    )
    ties = Ties(thread_id="t1", **{tie: f"{tie}-1" for tie in named})
    verdict = attribute(seen(text=text, senders=("d1",)).model_copy(update={"ties": ties}), found)
    engagements = set(named.values())
    if len(engagements) > 1:
        assert verdict.state is EventState.PARKED
    elif engagements:
        assert {matched(verdict)} == engagements
    elif verdict.state is EventState.PENDING:
        assert {verdict.workflow_id} in (on_thread, to_contact)
        assert verdict.rule != "address" or text


LOST = {"state": LedgerState.UNKNOWN}
CONVERSATION = {"run": True, "senders": ("d1",), "session_id": "s1", "flow_id": "flow-1", "template_id": "tpl-1"}


def to_one_person(*sends: SendTie) -> Findings:
    return Findings(contacts={"d1": "ct_1"}, to_contact={"ct_1": list(sends)})


def test_a_conversation_of_the_same_person_flow_and_template_ties_a_send_with_a_lost_answer() -> None:
    assert matched(attribute(seen(**CONVERSATION), to_one_person(a_send("w1", **LOST)))) == "w1"  # type: ignore[arg-type]  # a table


@given(
    st.sampled_from(
        [
            {"state": LedgerState.SENT, "session_id": "s0"},
            {**LOST, "flow_id": "flow-2"},
            {**LOST, "template_id": "tpl-2"},
            {**LOST, "session_id": "s0"},
            {**LOST, "claimed_at": NOW + timedelta(minutes=5)},
        ]
    )
)
def test_one_thing_that_does_not_fit_is_enough_to_leave_a_conversation_unmatched(changes: dict[str, object]) -> None:
    verdict = attribute(seen(**CONVERSATION), to_one_person(a_send("w1", **changes)))  # type: ignore[arg-type]  # a table
    assert verdict.state is EventState.UNMATCHED


def test_a_conversation_ties_a_send_of_which_a_person_said_without_its_ids_that_it_was_sent() -> None:
    assert matched(attribute(seen(**CONVERSATION), to_one_person(a_send("w1")))) == "w1"  # type: ignore[arg-type]  # a table


def test_two_lost_sends_that_fit_leave_a_conversation_unmatched() -> None:
    both = to_one_person(a_send("w1", **LOST), a_send("w2", **LOST))
    assert attribute(seen(**CONVERSATION), both).state is EventState.UNMATCHED  # type: ignore[arg-type]  # a table


def test_a_text_tied_by_address_alone_names_no_send_because_it_proves_none() -> None:
    found = Findings(contacts={"d1": "ct_1"}, to_contact={"ct_1": [a_send("w1", state=LedgerState.UNKNOWN)]})
    verdict = attribute(seen(text=True, senders=("d1",), replied_to="somebody-elses-message"), found)
    assert (matched(verdict), verdict.send_key) == ("w1", "")


def test_a_text_that_quotes_an_unknown_message_waits_while_an_ended_engagements_send_has_no_id() -> None:
    ended = a_send("w1", state=LedgerState.UNKNOWN, is_open=False)
    found = Findings(contacts={"d1": "ct_1"}, to_contact={"ct_1": [ended, a_send("w2")]})
    quoting = attribute(seen(text=True, senders=("d1",), replied_to="m1"), found)
    assert (quoting.state, quoting.final) == (EventState.UNMATCHED, False)
    assert matched(attribute(seen(text=True, senders=("d1",)), found)) == "w2"


def test_a_run_waits_for_a_send_on_its_way_even_where_an_earlier_answer_was_lost() -> None:
    lost, leaving = a_send("w1", state=LedgerState.UNKNOWN), a_send("w2", state=LedgerState.CALLING)
    sighting = seen(run=True, run_id="r1", thread_id="t1", flow_id="flow-1")
    verdict = attribute(sighting, Findings(on_thread={"t1": [lost, leaving]}))
    assert (verdict.state, verdict.final) == (EventState.UNMATCHED, False)


def test_a_conversation_waits_for_a_send_on_its_way_even_where_an_earlier_answer_was_lost() -> None:
    found = to_one_person(a_send("w1", **LOST), a_send("w2", state=LedgerState.CALLING))
    verdict = attribute(seen(**CONVERSATION), found)  # type: ignore[arg-type]  # a table
    assert (verdict.state, verdict.final) == (EventState.UNMATCHED, False)
