"""Lines for Temporal UI: one line, as long as there is room for, and nothing that only looks like ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit import LONGEST_SUMMARY, WHY, AuditLine, summary
from workflows.search_attributes import findable_job


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


@pytest.mark.parametrize("job", ["", "Ada's new job", "+31612345678", "job-31612345678", "x" * 65, "naïve", "a/b"])
def test_a_job_that_is_a_text_or_holds_the_number_is_kept_from_everybodys_eyes(job: str) -> None:
    assert findable_job(job, "+31612345678") == ""
