"""Meta's codes: the code decides, then the subcode; text and HTTP status never do."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from domain.errors import Scope
from domain.model import JsonValue
from providers.endings import Answer, Ending, Verdict, by_status
from providers.meta.errors import TABLE, codes_of, is_recipient_fault, refiner, regain_access
from providers.meta.schemas import GraphError
from providers.meta.settings import MetaSettings

SETTINGS = MetaSettings(waba_id="1", verify_token="env:T")


def judged(
    status: int,
    error: JsonValue,
    *,
    is_send: bool = True,
    settings: MetaSettings = SETTINGS,
    **headers: str,
) -> Verdict:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Answer("account acme: x", is_send, status, names, json.dumps({"error": error}).encode())
    return refiner("acme", settings)(answer, by_status(answer))


@given(code=st.sampled_from(sorted(TABLE)), one=st.integers(400, 599), other=st.integers(400, 599))
def test_a_listed_code_means_the_same_under_every_http_status(code: str, one: int, other: int) -> None:
    number, _, subcode = code.partition("/")
    error: JsonValue = {"code": int(number), "error_subcode": int(subcode or 0) or None, "message": "whatever"}
    first, second = judged(one, error), judged(other, error)

    assert (first.ending, first.scope) == (second.ending, second.scope) == (TABLE[code].ending, TABLE[code].scope)


@pytest.mark.parametrize("code", sorted(TABLE))
def test_every_row_says_what_it_means_and_where_that_is_from(code: str) -> None:
    row = TABLE[code]

    assert row.meaning
    assert row.source.startswith("Meta: ")
    assert row.ending is not Ending.UNKNOWN or row.scope is Scope.MESSAGE


def test_a_subcode_decides_where_it_is_listed_and_else_the_code() -> None:
    assert judged(400, {"code": 100, "error_subcode": 33}).scope is Scope.LINE
    assert judged(400, {"code": 100, "error_subcode": 4711}).scope is Scope.MESSAGE
    assert judged(400, {"code": "190", "error_subcode": "463"}).code == "190/463"


@pytest.mark.parametrize(
    ("status", "ending", "scope"),
    [
        (400, Ending.REJECTED, Scope.MESSAGE),
        (401, Ending.REJECTED, Scope.MESSAGE),
        (403, Ending.REJECTED, Scope.MESSAGE),
        (404, Ending.REJECTED, Scope.MESSAGE),
        (408, Ending.UNKNOWN, Scope.MESSAGE),
        (429, Ending.UNAVAILABLE, Scope.LINE),
        (500, Ending.UNKNOWN, Scope.MESSAGE),
        (503, Ending.UNKNOWN, Scope.MESSAGE),
    ],
)
def test_a_code_that_nobody_listed(status: int, ending: Ending, scope: Scope) -> None:
    verdict = judged(status, {"code": 999999})
    assert (verdict.ending, verdict.scope, verdict.code) == (ending, scope, "999999")


@pytest.mark.parametrize(("status", "scope"), [(401, Scope.ACCOUNT), (429, Scope.LINE), (400, Scope.MESSAGE)])
@pytest.mark.parametrize("error", [None, [], "x", {}, {"code": None}, {"code": {}}])
def test_an_answer_without_a_code_is_judged_by_its_status(status: int, scope: Scope, error: JsonValue) -> None:
    assert judged(status, error).scope is scope


@pytest.mark.parametrize("code", [1, 2, 131000])
def test_an_unknown_error_may_have_sent_but_a_read_may_be_repeated(code: int) -> None:
    assert judged(400, {"code": code}).ending is Ending.UNKNOWN
    read = judged(500, {"code": code}, is_send=False)
    assert (read.ending, read.scope) == (Ending.UNAVAILABLE, Scope.ACCOUNT)


def test_which_codes_prove_that_nothing_was_sent_is_a_setting() -> None:
    doubting = SETTINGS.model_copy(update={"unsent_codes": frozenset({"133004"})})

    assert judged(500, {"code": 131016}).ending is Ending.UNAVAILABLE
    assert judged(500, {"code": 131016}, settings=doubting).ending is Ending.UNKNOWN
    assert judged(500, {"code": 133004}, settings=doubting).ending is Ending.UNAVAILABLE


def test_the_longest_wait_counts_and_never_more_than_an_hour() -> None:
    usage = json.dumps({"102": [{"type": "messaging", "estimated_time_to_regain_access": 7}, {}, 3], "x": "y"})

    assert judged(400, {"code": 130429}, retry_after="2").retry_after == timedelta(seconds=2)
    assert judged(400, {"code": 131048}, retry_after="2").retry_after == timedelta(hours=1)
    assert judged(400, {"code": 132069}, retry_after="99999").retry_after == timedelta(hours=1)
    assert judged(400, {"code": 131056}).retry_after == timedelta(seconds=6)
    assert judged(400, {"code": 130429}).retry_after is None
    throttled = judged(400, {"code": 80007}, is_send=False, x_business_use_case_usage=usage)
    assert throttled.retry_after == timedelta(minutes=7)


@given(st.text())
def test_a_usage_header_never_breaks_anything(text: str) -> None:
    wait = regain_access({"x-business-use-case-usage": text})
    assert wait is None or timedelta(0) < wait <= timedelta(hours=1)


@pytest.mark.parametrize("code", ["131048", "131064"])
def test_a_limit_that_needs_a_person_is_told_loudly(code: str) -> None:
    with capture_logs() as logs:
        judged(400, {"code": int(code)})

    assert [(entry["event"], entry["log_level"], entry["code"]) for entry in logs] == [
        ("provider_needs_attention", "error", code)
    ]


@pytest.mark.parametrize(
    ("codes", "fault"),
    [
        (["131026"], True),
        (["131049"], True),
        (["131050"], True),
        (["131047"], False),
        (["130429"], False),
        (["131056"], False),
        (["132015"], False),
        (["999999"], False),
        ([], False),
        (["999999", "131026"], True),
    ],
)
def test_a_failed_delivery_blames_the_recipient_by_the_table_alone(codes: list[str], *, fault: bool) -> None:
    errors = [GraphError(code=code) for code in codes]

    assert is_recipient_fault(errors) is fault
    assert codes_of(errors) == tuple(codes)


def test_the_trace_id_is_told_and_metas_own_words_are_not() -> None:
    verdict = judged(400, {"code": 131009, "message": "Ada is not valid", "fbtrace_id": "AbC_123"})

    assert "trace AbC_123" in verdict.reason
    assert "Ada" not in verdict.reason
