"""Free text in plans: what is wrong with it is told before anything starts, by ``plan check`` and at the start."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain.engagements import Capabilities
from domain.plans import Plan
from providers.meta.client import CAPABILITIES as META
from providers.truora.client import CAPABILITIES as TRUORA
from starter.cli import app
from starter.plans_file import Surroundings
from starter.requests import RequestCheck
from tests.unit.starter.test_plan_check import START, UP, mistakes
from tests.unit.starter.world import CANDIDATE, NOW, PLAN, RECRUBO, TOPOLOGY, request

NUDGE = {"name": "nudge", "language": "en", "id": "tpl-2"}
TEXT = {"text": "Hi {{first_name}}, still there?"}
OFFER = TEXT | {"button": "Open form"}
FREE_FORMS = RECRUBO.model_copy(update={"free_form_window": True})


def written(free_form: str, flow: str = "") -> str:
    return f"{START}follow_ups:\n  - after: 1d\n    {UP}\n    free_form: {free_form}\n{flow}"


@pytest.mark.parametrize(
    ("text", "line", "field", "said"),
    [
        (written("{txt: Hi}"), 9, "follow_ups[0].free_form.txt", 'did you mean "text"'),
        (written("{text: Hi, button: Open}"), 9, "follow_ups[0].free_form.button", "no effect without a flow"),
        (written("{text: Hi}", "    flow: {id: f}\n"), 9, "follow_ups[0].free_form.button", "missing: the label"),
        (written("{text: 'Hi {{1}}'}"), 9, "follow_ups[0].free_form.text", "names no column"),
        (written("{text: 'Hi {{first_name'}"), 9, "follow_ups[0].free_form.text", "do not close"),
        (written("{text: Hi, button: Open the form that we talked about}", "    flow: {id: f}\n"), 9,
         "follow_ups[0].free_form.button", "at most 30 characters"),
        (written("{text: 'Hi {{frist_name}}'}"), 9, "follow_ups[0].free_form.text", 'did you mean "first_name"'),
        (START.replace("flow-1}", "flow-1}\n  free_form: {text: Hi}"), 5, "opening.free_form.button", "missing"),
    ],
)  # fmt: skip
def test_a_mistake_in_it_is_told_with_its_line_and_field(
    tmp_path: Path, text: str, line: int, field: str, said: str
) -> None:
    found = mistakes(tmp_path, text, Surroundings(columns=("first_name",), candidates="candidates.csv"))
    assert [(m.line, m.field) for m in found if said in m.message] == [(line, field)], found
    assert len(found) <= 2


def test_it_hides_no_other_mistake(tmp_path: Path) -> None:
    text = written("{text: Hi}", "    flow: {id: f}\n") + "longest: 1d\n"
    assert [m.field for m in mistakes(tmp_path, text)] == ["follow_ups[0].free_form.button", "longest"]
    around = Surroundings(columns=("name",), candidates="candidates.csv")
    fields = [m.field for m in mistakes(tmp_path, text.replace("longest: 1d\n", ""), around)]
    assert fields == ["opening.template.variables[0]", "follow_ups[0].free_form.button"]


def test_plan_check_says_that_it_may_leave_in_place_of_the_template(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(written("{text: 'Hi {{nickname}}'}"), encoding="utf-8")
    told = CliRunner().invoke(app, ["plan", "check", str(file)]).output
    assert "nudge (en); free text in its place within 24 hours of the candidate's last message" in told
    assert "needs of each candidate: first_name, nickname" in told


def refused(capabilities: Capabilities, **follow_up: object) -> list[str]:
    plan = Plan.model_validate(
        {**PLAN.model_dump(exclude_defaults=True), "follow_ups": ({"after": "1d", "template": NUDGE, **follow_up},)}
    )
    check = RequestCheck(TOPOLOGY, lambda _provider: capabilities, lambda _account: None)
    return [mistake.field for mistake in check.mistakes(request(plan=plan, candidate=CANDIDATE), NOW)]


def test_what_a_lines_provider_has_no_call_for_is_refused_at_the_start() -> None:
    of_text, of_flow = {"free_form": TEXT}, {"free_form": OFFER, "flow": {"id": "f"}}
    place = "plan.follow_ups.0.free_form"
    assert (refused(META, **of_text), refused(META, **of_flow)) == ([], [])
    assert (refused(FREE_FORMS, **of_text), refused(FREE_FORMS, **of_flow)) == ([], [place])
    assert (refused(TRUORA, **of_text), refused(TRUORA, **of_flow)) == ([place], [place])


def test_a_column_that_only_the_free_text_needs_is_asked_for_at_the_start() -> None:
    assert refused(META, free_form={"text": "Hi {{nickname}}"}) == ["candidate.variables.nickname"]


def test_the_budget_reckons_with_the_templates_price_and_knows_that_free_text_may_cost_nothing(
    tmp_path: Path,
) -> None:
    priced = "budget: {money: 0.10, currency: EUR, prices: [{category: UTILITY, price: 0.05}]}\n"
    ups = f"follow_ups:\n  - after: 1d\n    {UP}\n    free_form: {{text: Hi}}\n  - after: 1d\n    {UP}\n"
    assert mistakes(tmp_path, START + ups + priced) == ()
    without = ups.replace("    free_form: {text: Hi}\n", "")
    assert [m.field for m in mistakes(tmp_path, START + without + priced)] == ["follow_ups[1]"]
    service = priced.replace("0.05}]", "0.05}, {category: SERVICE, price: 0.01}]")
    assert mistakes(tmp_path, START + ups + service) == ()
