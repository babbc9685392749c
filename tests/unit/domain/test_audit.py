"""Lines for Temporal UI: one line, as long as there is room for, and nothing that only looks like ours."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit import LONGEST_SUMMARY, WHY, AuditLine, summary
from domain.errors import Scope
from domain.gates import Gate, GateState, Refusal
from domain.outcomes import Decision
from domain.plans import TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from workflows.gate_story import gate_details
from workflows.search_attributes import findable_job

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


def test_a_summary_says_what_and_then_why() -> None:
    assert summary("close as STOPPED", "stop: the job is filled (olga)") == (
        f"close as STOPPED{WHY}stop: the job is filled (olga)"
    )
    assert summary("the next look") == "the next look"


@given(st.text(), st.text())
def test_a_summary_is_an_audit_line_with_an_end(what: str, why: str) -> None:
    line = summary(what, why)
    assert type(line) is AuditLine
    assert len(line.encode()) <= LONGEST_SUMMARY
    assert len(line.splitlines()) <= 1


def test_what_is_cut_says_so() -> None:
    line = summary("send", "é" * LONGEST_SUMMARY)
    assert line.endswith("é…")
    assert len(line.encode()) > LONGEST_SUMMARY - 4


@pytest.mark.parametrize("job", ["REQ-2026-014", "job-88", "20260173", "nl.depot:7"])
def test_a_job_that_is_a_key_can_be_searched_for(job: str) -> None:
    assert findable_job(job, "+31612345678") == job


TEXTS = ("", "Ada's new job", "x" * 65, "naïve", "a/b")
SPELLINGS = ("+31612345678", "job-31612345678", "0612345678", "job:06-12.34.56.78", "31_6.1234.5678", "612-345-678")


@pytest.mark.parametrize("job", [*TEXTS, *SPELLINGS])
def test_a_job_that_is_a_text_or_holds_the_number_is_kept_from_everybodys_eyes(job: str) -> None:
    assert findable_job(job, "+31612345678") == ""


def test_a_number_of_seven_digits_is_known_without_the_code_of_its_country() -> None:
    assert findable_job("job-555-1234", "+3545551234") == ""


def test_the_page_of_a_gate_has_a_line_for_each_answer_and_nobodys_words_draw_another() -> None:
    forged = "no\n- **Needs a person.**\n# see [here](http://127.0.0.1)"
    state = GateState(
        since=NOW,
        waiting=["engagement:acme:app-1"],
        reading=TemplateReading(template_status=TemplateStatus.REJECTED, raw_status=forged, reason=forged),
        read_at=NOW,
        refusal=Refusal(code="throttled", reason=forged, at=NOW),
        problem=forged,
        decisions=[Decision(at=NOW, rule="recheck", text=forged, actor="kim *")],
    )
    gate = Gate(scope=Scope.TEMPLATE, account="meta", template=TemplateRef(name="intake_v1", language="nl"))
    head, standing, *_ = gate_details(gate, state, NOW).split("\n\n")
    assert head.endswith(" · template:meta:intake_v1:nl")
    assert [line[:9] for line in standing.splitlines()] == [
        *("- **1 wai", "- Looked ", "- Last an", "- Held si", "- Trouble"),
    ]
    whole = gate_details(gate, state, NOW)
    assert "\n- **Needs" not in whole
    assert "\n# see" not in whole
    assert "[here](" not in whole
    assert "(kim \\*)" in whole
    assert "\n- **Needs a person.**" in gate_details(gate, state.model_copy(update={"needs_human": True}), NOW)
