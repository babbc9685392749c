"""``plan check``: every kind of mistake with file, line, field and a suggestion; all of them at once."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from domain.errors import BadInput, Mistake
from starter.cli import app
from starter.plan_against import specifications_in
from starter.plan_schema import plan_schema
from starter.plans_file import Surroundings, load_plan
from tests.unit.starter.test_files import EXAMPLES

START = """\
name: intake
opening:
  template: {name: intake_v1, language: en, id: tpl-1, category: UTILITY, variables: [first_name]}
  flow: {id: flow-1}
silence: {after: 2d}
"""
UP = "template: {name: nudge, language: en, id: tpl-2, category: UTILITY}"
PRICED = "budget:\n  money: 0.10\n  currency: EUR\n  prices:\n    - {category: UTILITY, price: "
WINDOW = START + "send_window:\n  hours: {mon-fri: 09:00-18:00}\n"
EVERY_MISTAKE_AT_ONCE = """\
name: Bad Name
opening:
  template: {name: intake_invitatoin, language: en, variables: [first_nam, job_title]}
  flow: {id: f}
  expire: 2d
follow_ups:
  - on: raed
    template: {name: intake_reminder, language: nl, id: x}
  - on: {feld: x, equals: later}
    template: {name: intake_reminder, language: en, id: x, variables: [first_name]}
  - after: 70d
    template: {name: intake_reminder, language: en, id: x, variables: [first_name]}
silence: {after: 2d, then: hand_over}
unexpected_text: anser
"""


def rapport(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def mistakes(tmp_path: Path, text: str, surroundings: Surroundings | None = None) -> tuple[Mistake, ...]:
    file = tmp_path / "plan.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load_plan(file, surroundings)
    except BadInput as error:
        return error.mistakes
    return ()


def ups(*followed: str) -> str:
    return START + "follow_ups:\n" + "".join(f"  - {cause}\n    {UP}\n" for cause in followed)


@pytest.mark.parametrize(
    ("text", "line", "field", "said"),
    [
        (START.replace("silence: {after: 2d}\n", ""), 1, "silence", "missing"),
        (START + "longest: 1d\n", 6, "longest", "cannot end by its own rules; make it 3d"),
        (ups("after: 59d"), 1, "longest", "make it 62d"),
        (ups("when: nothing-came"), 7, "follow_ups[0].after", "on what signal"),
        (ups("{on: red}").replace("- {on: red}", "- on: red"), 7, "follow_ups[0].on", 'did you mean "read"'),
        (ups("on: {field: a, equal: b}"), 7, "follow_ups[0].on.equal", 'did you mean "equals"'),
        (ups("on: {ats: hired}"), 7, "follow_ups[0].on.ats", "must be 'moved'"),
        (ups("{after: 1d, wen: x}").replace("{after: 1d, wen: x}", "wen: x\n    after: 1d"), 7, "follow_ups[0].wen",
         'did you mean "when"'),
        (ups("on: read\n    after: 60d"), 8, "follow_ups[0].after", "over by then"),
        (ups("on: text") + "unexpected_text: answer\n", 7, "follow_ups[0].on", "ends the engagement by a text"),
        (ups("on: {field: a, equals: no}") + "declined_when: [{field: a, equals: NO}]\n", 7, "follow_ups[0].on",
         "takes this answer as a no"),
        (ups("on: read\n    when: delivered-not-read"), 8, "follow_ups[0].when", "can never hold"),
        (ups("on: {field: a, equals: 1}\n    when: flow-started-not-finished"), 8, "follow_ups[0].when", "is finished"),
        (ups("after: 1d", "after: 1d") + "budget: {messages: 2}\n", 9, "follow_ups[1]", "messages is spent by then"),
        (START + "budget: {}\n", 6, "budget", "neither messages nor money"),
        (START + "budget: {messages: 2, currency: EUR}\n", 6, "budget.currency", "without money it has no effect"),
        (START + "budget: {money: 1, currency: EUR}\n", 6, "budget.prices", "missing"),
        (START + PRICED + "0.11}\n", 7, "budget.money", "the opening alone costs 0.11 elsewhere"),
        (ups("after: 1d") + PRICED + "0.06}\n", 7, "follow_ups[0]", "by then it costs 0.12"),
        (START.replace("UTILITY", "MARKETING") + PRICED + "0.06}\n", 3, "opening.template.category", "no price for"),
        (START.replace(", category: UTILITY", "") + PRICED + "0.06}\n", 3, "opening.template.category", "missing"),
        (START + PRICED + "0.06}\n    - {category: UTILITY, price: 0.05}\n", 11, "budget.prices[1]", "above already"),
        (START + "budget: {money: 1, currency: EUR, prices: nowhere.yaml}\n", 6, "budget.prices", "cannot be read"),
        (START.replace("flow-1}", "flow-1, prefill: [city]}"), 4, "opening.flow.prefill", "not among the variables"),
        (WINDOW + "step_expiry: 2d\n", 8, "step_expiry", "closed for up to 2d15h"),
        (WINDOW + ups("after: 1d\n    expires: 4h").removeprefix(START), 10, "follow_ups[0].expires", "closed for"),
        (WINDOW.replace("mon-fri", "monday"), 7, "send_window.hours.monday", "as in sat or mon-fri"),
        (WINDOW.replace("09:00", "9:00"), 7, "send_window.hours.mon-fri", "as in 09:00-18:00"),
        (WINDOW + "  zone: Europe/Amsterdm\n", 8, "send_window.zone", "not a time zone, as in Europe/Amsterdam"),
        (ups('on: "ats:moved"'), 7, "follow_ups[0].on", "a word of the ATS {ats: moved}"),
        (START.replace("language: en", "language: english"), 3, "opening.template.language", "as in en or es_MX"),
        (START.replace("intake_v1", "Intake"), 3, "opening.template.name", "as in intake_v1"),
        (START.replace("[first_name]", "[first-name]"), 3, "opening.template.variables[0]", "as in first_name"),
        (START.replace("name: intake\n", "name: My plan\n"), 1, "name", "as in picker-intake"),
        (START + PRICED.replace("EUR", "euro") + "0.06}\n", 8, "budget.currency", "as in EUR"),
        (START + PRICED.replace("{", "{country: Spain, ") + "0.06}\n", 10, "budget.prices[0].country", "as in NL"),
        (START.replace("2d", "a while"), 5, "silence.after", "2d, 36h"),
        (START + "when_busy: parralel\n", 6, "when_busy", 'did you mean "parallel"'),
        (START + "category_change: goon\n", 6, "category_change", 'did you mean "go-on"'),
        (START + "name: other\n", 6, "name", "written twice"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_its_field_and_what_to_do(
    tmp_path: Path, text: str, line: int, field: str, said: str
) -> None:
    found = mistakes(tmp_path, text)
    assert [(m.line, m.field) for m in found if said in m.message] == [(line, field)], found
    assert len(found) <= 2, "and of nothing that is right"


def test_one_wrong_word_hides_no_other_mistake(tmp_path: Path) -> None:
    specifications = specifications_in(EXAMPLES / "templates")
    around = Surroundings(specifications, ("first_name", "job_title"), "candidates.csv")
    found = mistakes(tmp_path, EVERY_MISTAKE_AT_ONCE, around)
    assert [(m.line, m.field) for m in found] == [
        (1, "longest"),
        (1, "name"),
        (3, "opening.template.name"),
        (3, "opening.template.variables[0]"),
        (5, "opening.expire"),
        (7, "follow_ups[0].on"),
        (8, "follow_ups[0].template.language"),
        (9, "follow_ups[1].on.feld"),
        (9, "follow_ups[1].on.field"),
        (13, "silence.then"),
        (14, "unexpected_text"),
    ]
    by_field = {m.field: m.message for m in found}
    assert by_field["opening.template.name"].endswith('did you mean "intake_invitation"?')
    assert by_field["opening.template.variables[0]"].endswith('did you mean "first_name"?')
    assert by_field["silence.then"].endswith('did you mean "hand-over"?')


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        (("{name: intake_v1", "{name: intake_v2"), "opening.template.name", 'did you mean "intake_v1"?'),
        (("language: en", "language: es"), "opening.template.language", "specified in en only"),
        (("[first_name]", "[first_name, city]"), "opening.template.variables", "takes 1, the plan gives 2"),
        (("UTILITY", "MARKETING"), "opening.template.category", "specified as UTILITY"),
        (("variables:", "named: true, variables:"), "opening.template.named", "have numbers"),
    ],
)
def test_a_plan_that_does_not_fit_the_specification_of_its_template_is_a_mistake(
    tmp_path: Path, change: tuple[str, str], field: str, said: str
) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "a.yaml").write_text(
        'name: intake_v1\nlanguage: en\nprovider: recrubo\ncategory: UTILITY\nbody: "Hi {{1}}"\nexamples: {1: Ada}\n'
    )
    around = Surroundings(specifications_in(folder))
    plan = START.replace(", id: tpl-1", "")
    assert mistakes(tmp_path, plan, around) == ()
    (found,) = mistakes(tmp_path, plan.replace(*change), around)
    assert (found.line, found.field) == (3, field)
    assert said in found.message


def test_a_price_table_beside_the_plan_tells_its_own_lines(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text("- {category: UTILITY, price: 0.01}\n- {category: UTILTY, price: 0.02}\n")
    text = START + "budget: {money: 1, currency: EUR, prices: prices.yaml}\nlongest: 1h\n"
    found = mistakes(tmp_path, text)
    assert {(Path(m.file).name, m.line, m.field) for m in found} == {
        ("prices.yaml", 2, "[1].category"),
        ("plan.yaml", 7, "longest"),
    }
    (tmp_path / "prices.yaml").write_text("- {category: UTILITY, price: 0.01}\n")
    assert mistakes(tmp_path, text.replace("longest: 1h\n", "")) == ()


def test_prices_are_exact_and_the_country_goes_before_every_other() -> None:
    budget = load_plan(EXAMPLES / "plans" / "nurse-screening-es.yaml").budget
    assert budget is not None
    assert budget.price("MARKETING", "ES") == Decimal("0.0615")
    assert budget.price("UTILITY", "CO") == Decimal("0.05")
    assert budget.price("AUTHENTICATION", "ES") is None


def test_the_command_tells_what_a_plan_does_and_refuses_with_every_mistake(tmp_path: Path) -> None:
    plans = [str(path) for path in (EXAMPLES / "plans").glob("*-*.yaml") if path.stem != "prices-eur"]
    folder = str(EXAMPLES / "plans" / "templates")
    told = rapport("plan", "check", *plans, "--templates", folder)
    assert told.exit_code == 0, told.output
    assert "on the answer available = later, 14 days later: magazijn_opnieuw (nl)" in told.output
    as_json = rapport("plan", "check", *plans, "--templates", folder, "--json")
    assert {plan["name"] for plan in json.loads(as_json.stdout)} == {Path(path).stem for path in plans}
    candidates = tmp_path / "c.csv"
    candidates.write_text("reference,first_nam\n")
    refused = rapport("plan", "check", str(EXAMPLES / "warehouse-intake.yaml"), "--candidates", str(candidates))
    assert refused.exit_code == 2
    assert "opening.template.variables[1]" in refused.stderr


def test_the_schema_in_the_documentation_is_the_one_of_this_release(tmp_path: Path) -> None:
    kept = (EXAMPLES.parent / "docs" / "plan.schema.json").read_text(encoding="utf-8")
    assert rapport("plan", "schema").stdout == kept == plan_schema()
    assert rapport("plan", "schema", "--to", str(tmp_path / "s.json")).exit_code == 0
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == kept
