"""Plans and candidate files: every mistake at once, each with its place."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BadInput, Mistake
from runtime.topology import load_topology
from sandbox.settings import load as load_sandbox
from starter.candidates_file import CandidatesRead, read_candidates
from starter.phones import read_phone, spells_phone
from starter.plans_file import load_plan

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

GOOD_PLAN = """\
name: intake
opening:
  template: {name: intake_v1, language: en, id: tpl-1, variables: [first_name]}
  flow: {id: flow-1}
silence: {after: 2d}
"""

FIVE_MISTAKES = """\
name: Intake Plan
opening:
  template: {name: intake_v1, langauge: en}
  flow: {id: flow-1}
folow_ups: []
silence:
  after: soon
"""

HEADER = "reference,phone,consent_source,consent_at,zone,job,first_name\n"
ROW = "a-1,+31612345678,careers page,2026-03-01T09:00:00Z,Europe/Amsterdam,job-1,Ada\n"
VARIABLES = frozenset({"first_name"})


def plan_of(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "plan.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def read(tmp_path: Path, content: str | bytes, variables: frozenset[str] | None = VARIABLES) -> CandidatesRead:
    file = tmp_path / "candidates.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_candidates(file, variables)


def places(mistakes: list[Mistake]) -> list[tuple[int | None, str]]:
    return [(mistake.line, mistake.field) for mistake in mistakes]


def test_a_good_plan_is_read(tmp_path: Path) -> None:
    assert load_plan(plan_of(tmp_path, GOOD_PLAN)).name == "intake"


def test_a_plan_with_five_mistakes_tells_all_five_with_file_line_and_field(tmp_path: Path) -> None:
    file = plan_of(tmp_path, FIVE_MISTAKES)

    with pytest.raises(BadInput) as refused:
        load_plan(file)

    found = refused.value.mistakes
    assert [(m.line, m.field) for m in found] == [
        (1, "name"),
        (3, "opening.template.langauge"),
        (3, "opening.template.language"),
        (5, "folow_ups"),
        (7, "silence.after"),
    ]
    assert {m.file for m in found} == {str(file)}
    by_field = {m.field: m.message for m in found}
    assert by_field["opening.template.langauge"] == 'unknown name; did you mean "language"?'
    assert by_field["folow_ups"] == 'unknown name; did you mean "follow_ups"?'
    assert by_field["opening.template.language"] == "missing"


def test_a_template_that_is_described_in_two_ways_is_a_mistake(tmp_path: Path) -> None:
    text = GOOD_PLAN + "follow_ups:\n  - after: 1d\n    template: {name: intake_v1, language: en, id: tpl-2}\n"

    with pytest.raises(BadInput) as refused:
        load_plan(plan_of(tmp_path, text))

    assert [(m.line, m.field) for m in refused.value.mistakes] == [(8, "follow_ups[0].template")]


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a list\n", "just text\n", "name: [unclosed\n"])
def test_what_is_no_plan_at_all_is_bad_input(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput) as refused:
        load_plan(plan_of(tmp_path, text))
    assert refused.value.mistakes


def test_a_plan_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.yaml.*cannot be read"):
        load_plan(tmp_path / "nowhere.yaml")


def test_candidates_are_read_with_their_lines(tmp_path: Path) -> None:
    rows = read(tmp_path, HEADER + ROW + "\n" + ROW.replace("a-1", "a-2")).checked()

    assert [(row.reference, row.line) for row in rows] == [("a-1", 2), ("a-2", 4)]
    assert rows[0].candidate.phone == "+31612345678"
    assert rows[0].candidate.variables == {"first_name": "Ada"}
    assert rows[0].candidate.consent is not None
    assert rows[0].candidate.consent.source == "careers page"
    assert rows[0].job == "job-1"


def test_a_file_with_five_mistakes_tells_all_five_in_order(tmp_path: Path) -> None:
    content = HEADER + (
        "a-1,12345,careers page,2026-03-01T09:00:00Z,,,Ada\n"
        "a 2,+31612345678,careers page,2026-03-01T09:00:00Z,,,Ada\n"
        "a-3,+31612345678,,2026-03-01T09:00:00Z,,,Ada\n"
        "a-4,+31612345678,careers page,2026-03-01,,,Ada\n"
        "a-1,+31612345678,careers page,2026-03-01T09:00:00Z,Mars/Olympus,,\n"
    )

    found = read(tmp_path, content)

    assert places(found.mistakes) == [
        (2, "phone"),
        (3, "reference"),
        (4, "consent_source"),
        (5, "consent_at"),
        (6, "reference"),
        (6, "first_name"),
        (6, "zone"),
    ]
    assert found.rows == []
    assert "no consent" in found.mistakes[2].message
    assert "stands in line 2 already" in found.mistakes[4].message
    assert not any("12345" in m.message for m in found.mistakes)
    with pytest.raises(BadInput):
        found.checked()


def test_missing_columns_are_named_with_a_suggestion(tmp_path: Path) -> None:
    found = read(tmp_path, "reference,phon,consent_source,firstname\na-1,+31612345678,page,Ada\n")

    messages = {m.field: m.message for m in found.mistakes}
    assert messages["phone"] == 'the column is missing; did you mean "phon"?'
    assert messages["first_name"] == 'the column is missing; did you mean "firstname"?'
    assert messages["consent_at"] == "the column is missing"
    assert {m.line for m in found.mistakes} == {1}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        (HEADER, "there is no candidate below the header"),
        ((HEADER + ROW).encode("utf-16-le"), "NUL bytes"),
        (b"reference,phone\n\xff\xfe\xfd", "not UTF-8"),
        (HEADER + 'a-1,"+31612345678,careers page\n', "a quote is not closed"),
        ("reference,reference,phone,consent_source,consent_at,first_name\n", "twice"),
    ],
)
def test_what_is_no_candidate_file_is_said_clearly(tmp_path: Path, content: str | bytes, expected: str) -> None:
    assert any(expected in m.message for m in read(tmp_path, content).mistakes)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + (HEADER + ROW).encode(),
        (HEADER + ROW).encode("utf-16"),
        (HEADER + ROW).replace(",", ";").encode(),
        (HEADER + ROW).replace(",", "\t").encode(),
        (HEADER + ROW).replace("\n", "\r\n").encode(),
        (HEADER.upper().replace("FIRST_NAME", "first_name") + ROW).encode(),
        (HEADER + ROW).replace("Ada", '"Ada"').encode(),
    ],
)
def test_the_forms_in_which_spreadsheets_save_are_all_read(tmp_path: Path, content: bytes) -> None:
    (row,) = read(tmp_path, content).checked()
    assert row.candidate.variables == {"first_name": "Ada"}


def test_columns_that_no_template_needs_are_not_kept(tmp_path: Path) -> None:
    (row,) = read(tmp_path, HEADER.strip() + ",salary\n" + ROW.strip() + ",90000\n").checked()
    assert row.candidate.variables == {"first_name": "Ada"}


def test_a_region_reads_numbers_without_a_country_code(tmp_path: Path) -> None:
    file = tmp_path / "candidates.csv"
    file.write_text(HEADER + ROW.replace("+31612345678", "06 1234 5678"))

    assert read_candidates(file, VARIABLES, "NL").checked()[0].candidate.phone == "+31612345678"
    assert places(read_candidates(file, VARIABLES).mistakes) == [(2, "phone")]
    assert read_candidates(file, VARIABLES, "XX").mistakes[0].field == "region"


@given(
    number=st.sampled_from(["+31612345678", "+5511912345678", "+573001234567", "+14155550132"]),
    prefix=st.sampled_from(["", "app-", "X."]),
    separator=st.sampled_from(["", "-", ".", "_"]),
    with_code=st.booleans(),
)
def test_no_spelling_of_a_number_passes_as_a_reference(
    number: str, prefix: str, separator: str, *, with_code: bool
) -> None:
    national = {"+31612345678": "612345678", "+5511912345678": "11912345678"}.get(number, number[-10:])
    text = number.removeprefix("+") if with_code else "0" + national
    assert spells_phone(prefix + separator.join(text), number)


@given(st.text(max_size=30))
def test_reading_a_phone_number_gives_a_number_or_a_reason_without_it(text: str) -> None:
    try:
        told = read_phone(text)
    except ValueError as error:
        told = str(error)
    assert told.startswith(("+", "not a phone number"))


def test_the_examples_are_in_order() -> None:
    plan = load_plan(EXAMPLES / "warehouse-intake.yaml")
    rows = read_candidates(EXAMPLES / "candidates.csv", plan.variables()).checked()
    topology = load_topology(EXAMPLES / "rapport.yaml")
    (played,) = load_sandbox(EXAMPLES / "sandbox.yaml").accounts.recrubo

    assert len(rows) >= 5
    assert {t.id for t in plan.templates()} <= {t.id for t in played.templates}
    assert {plan.opening.flow.id} <= {flow.id for flow in played.flows}
    assert played.webhook_url is not None
    assert played.webhook_url.endswith(f"/webhooks/recrubo/{topology.accounts[0].slug}")
