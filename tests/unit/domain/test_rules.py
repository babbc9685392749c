"""Rules of the vocabulary: durations, stop words, plans, pacing, topologies."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.errors import BadInput, Mistake
from domain.model import Duration
from domain.pacing import MARGIN, paces, window_of
from domain.plans import AnswerRule, Plan
from domain.stop_words import StopWords
from domain.topology import Account, Line, Topology

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
TEMPLATE = {"name": "intake_v1", "language": "nl"}


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("2d", timedelta(days=2)),
        ("1d12h", timedelta(hours=36)),
        ("90m", timedelta(minutes=90)),
        ("0.5s", timedelta(milliseconds=500)),
        ("P3D", timedelta(days=3)),
    ],
)
def test_a_duration_reads_as_people_write_it(text: str, length: timedelta) -> None:
    assert DURATION.validate_python(text) == length


@pytest.mark.parametrize("text", ["", "2 weeks", "d", "-1d", "0s", "1h1d"])
def test_what_is_no_positive_duration_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(text)


@given(st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=4000)))
def test_a_duration_survives_being_written_and_read(length: timedelta) -> None:
    assert DURATION.validate_json(DURATION.dump_json(length)) == length


@pytest.mark.parametrize("text", ["STOP", "  stop. ", "Stop!", "¡BAJA!", "unsubscribe", "Parar"])
def test_a_stop_word_is_known_in_any_dress(text: str) -> None:
    assert StopWords().is_stop(text)


@pytest.mark.parametrize("text", ["please stop by", "stopping", "", "...", "can we STOP at 5?"])
def test_a_sentence_with_a_stop_word_in_it_is_no_opt_out(text: str) -> None:
    assert not StopWords().is_stop(text)


def test_an_account_replaces_the_words_of_a_language_and_keeps_those_of_the_others() -> None:
    words = StopWords.model_validate({"stop": {"nl": ["Opt-out!"], "de": ["abmelden"], "pt": []}})
    told = {text: words.is_stop(text) for text in ("OPT-OUT", "Abmelden.", "stop", "baja", "afmelden", "sair")}
    assert told == {"OPT-OUT": True, "Abmelden.": True, "stop": True, "baja": True, "afmelden": False, "sair": False}
    assert words.is_start("Aanmelden")


@pytest.mark.parametrize(
    "wrong", [{"stop": ["halt"]}, {"stop": {"Dutch": ["halt"]}}, {"stop": {"nl": ["!"]}}, {"halt": {}}]
)
def test_words_that_could_never_be_met_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StopWords.model_validate(wrong)


@pytest.mark.parametrize(("answer", "matches"), [("No", True), (" no ", True), ("nope", False), (False, False)])
def test_an_answer_rule_compares_without_case(answer: str | bool, matches: bool) -> None:  # noqa: FBT001 - a table
    assert AnswerRule(field="available", equals="no").matches({"available": answer}) is matches


def test_an_answer_rule_knows_a_boolean_from_a_form() -> None:
    assert AnswerRule(field="available", equals=False).matches({"available": "false"})
    assert not AnswerRule(field="available", equals=False).matches({})


def test_a_plan_whose_waits_exceed_its_longest_is_refused() -> None:
    opening = {"template": TEMPLATE, "flow": {"id": "f"}}
    with pytest.raises(ValidationError, match="longest"):
        Plan.model_validate({"name": "p", "opening": opening, "silence": {"after": "10d"}, "longest": "5d"})


@given(st.floats(0.1, 1000), st.lists(st.floats(0.1, 1000), max_size=20))
def test_lines_and_lookups_together_stay_under_the_accounts_rate(rate: float, lines: list[float]) -> None:
    account = Account(slug="a", provider="p", credential="env:T", webhook_secrets=("env:S",), rate=rate)
    given_lines = tuple(Line(slug=f"l{n}", account="a", tenants=("t",), rate=r) for n, r in enumerate(lines))
    lookups, sends = paces(account, given_lines)
    assert lookups > 0
    assert lookups + sum(sends.values()) <= rate
    assert all(sends[line.slug] < line.rate for line in given_lines)


@given(rate=st.integers(1, 100_000))
def test_what_a_line_keeps_in_any_second_is_the_whole_rate_that_it_was_granted(rate: int) -> None:
    account = Account(slug="a", provider="p", credential="env:T", webhook_secrets=("env:S",), rate=rate * 2)
    line = Line(slug="l", account="a", tenants=("t",), rate=rate)
    _, sends = paces(account, (line,))
    window = window_of(sends["l"])
    assert window.most == rate
    assert window.seconds == pytest.approx(1)


@pytest.mark.parametrize(("rate", "most", "seconds"), [(0.5, 1, 2.0), (1.8, 2, 2 / 1.8), (2.5, 3, 1.2), (20, 20, 1.0)])
def test_a_rate_that_is_not_whole_is_kept_over_the_time_that_whole_sends_take(
    rate: float, most: int, seconds: float
) -> None:
    window = window_of(rate * MARGIN)
    assert window.most == most
    assert window.seconds == pytest.approx(seconds)


def test_a_topology_tells_every_name_that_does_not_fit() -> None:
    with pytest.raises(ValidationError) as refused:
        Topology.model_validate(
            {
                "tenants": [{"slug": "acme"}, {"slug": "acme"}],
                "accounts": [{"slug": "a", "provider": "p", "credential": "env:T", "webhook_secrets": ["env:S"]}],
                "lines": [{"slug": "l", "account": "nobody", "tenants": ["acme", "other"]}],
                "tokens": [{"name": "t", "tenant": "third", "token": "env:X", "roles": ["read"]}],
            }
        )
    text = str(refused.value)
    assert all(
        part in text for part in ("acme: named twice", "no account nobody", "no tenant other", "no tenant third")
    )


def test_a_secret_where_a_reference_belongs_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError) as refused:
        Account.model_validate(
            {"slug": "a", "provider": "p", "credential": "s3cret-token", "webhook_secrets": ["env:S"]}
        )
    assert "s3cret" not in str(refused.value)


def test_bad_input_tells_every_mistake_with_its_place() -> None:
    refused = BadInput(
        [Mistake("must be positive", field="silence.after", file="p.yaml", line=4), Mistake("no such line")]
    )
    assert str(refused).splitlines() == ["p.yaml:4: silence.after: must be positive", "no such line"]
