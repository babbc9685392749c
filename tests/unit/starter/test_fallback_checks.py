"""A plan with a fallback line: every mistake before anything starts, in the file and against the configuration."""

from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain.engagements import Capabilities
from domain.errors import BadInput
from domain.plans import Plan
from domain.topology import Account, Line, Topology
from providers.meta.client import CAPABILITIES as META
from starter.cli import app
from starter.plan_against import specifications_in
from starter.plans_file import Surroundings, load_plan
from starter.requests import RequestCheck
from tests.unit.starter.world import CANDIDATE, NOW, PLAN, RECRUBO, TOPOLOGY, request

OPENS = "opening: {template: {name: retry, language: en}, flow: {id: f}}"
OVER = f"fallback: {{line: other, {OPENS}, silence: {{after: 2d}}}}"
WRITTEN = """\
name: intake
opening:
  template: {name: intake_v1, language: en, id: tpl-1, variables: [first_name]}
  flow: {id: flow-1}
silence: {after: 2d, then: fallback-line, %s}
"""
PRICED = "budget: {money: 1, currency: EUR, prices: [{category: UTILITY, price: 1}]}\n"
SPECIFIED = 'name: %s\nlanguage: en\nprovider: recrubo\ncategory: UTILITY\nbody: "Hi {{1}}"\nexamples: {1: Ada}\n'
BOTH = Topology(
    tenants=TOPOLOGY.tenants,
    accounts=(
        *TOPOLOGY.accounts,
        Account(slug="acme-meta", provider="meta", credential="env:TOKEN", webhook_secrets=("env:SECRET",)),
    ),
    lines=(*TOPOLOGY.lines, Line(slug="reserve", account="acme-meta", tenants=("acme",))),
)


def mistakes(tmp_path: Path, text: str, around: Surroundings | None = None) -> list[tuple[str, str]]:
    file = tmp_path / "plan.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load_plan(file, around)
    except BadInput as error:
        return [(m.field, m.message) for m in error.mistakes]
    return []


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        (WRITTEN % "otherwise: close", "silence.fallback", "missing: say on which line"),
        (WRITTEN.replace("fallback-line", "close") % OVER, "silence.fallback", "has no effect"),
        (WRITTEN.replace("fallback-line", "close") % "otherwise: hand-over", "silence.otherwise", "has no effect"),
        (WRITTEN % f"{OVER}, otherwise: handover", "silence.otherwise", 'did you mean "hand-over"'),
        (WRITTEN.replace("fallback-line", "fallback") % OVER, "silence.then", 'did you mean "fallback-line"'),
        (WRITTEN % OVER.replace("2d", "2d, then: fallback-line"), "silence.fallback.silence.then", "must be"),
        (WRITTEN % OVER.replace("line: other, ", ""), "silence.fallback.line", "missing"),
        (WRITTEN % OVER.replace("line: other", "lne: other"), "silence.fallback.lne", 'did you mean "line"'),
        (WRITTEN % OVER + "longest: 3d\n", "longest", "make it 5d"),
        (WRITTEN.replace("id: tpl-1,", "id: tpl-1, category: UTILITY,") % OVER + PRICED,
         "silence.fallback.opening.template.category", "missing: the budget in money"),
    ],
)  # fmt: skip
def test_a_mistake_in_what_a_plan_says_of_its_fallback_line_is_told(
    tmp_path: Path, text: str, field: str, said: str
) -> None:
    found = mistakes(tmp_path, text)
    assert [at for at, message in found if said in message] == [field], found
    assert len(found) <= 2


def test_a_plan_that_goes_over_is_read_and_told(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(WRITTEN % f"{OVER}, otherwise: hand-over")
    told = CliRunner().invoke(app, ["plan", "check", str(file)])
    assert told.exit_code == 0, told.output
    assert "of silence: hand-over" in told.output
    assert "nothing arrived: retry (en) on line other, flow f; after 2 days of silence: close" in " ".join(
        told.output.split()
    )


def test_the_fallback_lines_template_is_checked_as_every_other_and_may_bear_the_name_of_one(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for name in ("intake_v1", "retry"):
        (tmp_path / "t" / f"{name}.yaml").write_text(SPECIFIED % name)
    around = Surroundings(specifications_in(tmp_path / "t"), lines=("others", "nl"))
    found = mistakes(tmp_path, WRITTEN % OVER, around)
    assert found == [
        ("silence.fallback.line", 'no such line in the configuration; did you mean "others"?'),
        ("silence.fallback.opening.template.variables", "the template takes 1, the plan gives 0"),
    ]
    same = OVER.replace(
        "name: retry, language: en", "name: intake_v1, language: en, id: other, variables: [first_name]"
    )
    assert mistakes(tmp_path, WRITTEN % same) == []


def test_the_command_knows_the_lines_of_the_configuration(tmp_path: Path) -> None:
    file, config = tmp_path / "plan.yaml", tmp_path / "rapport.yaml"
    file.write_text(WRITTEN % OVER)
    config.write_text(
        "tenants: [{slug: acme}]\n"
        "accounts: [{slug: a, provider: meta, credential: env:T, webhook_secrets: [env:S]}]\n"
        "lines: [{slug: othr, account: a, tenants: [acme]}]\n"
    )
    refused = CliRunner().invoke(app, ["plan", "check", str(file), "--config", str(config)])
    assert refused.exit_code == 2
    assert "silence.fallback.line" in refused.stderr
    config.write_text(config.read_text().replace("othr", "other"))
    assert CliRunner().invoke(app, ["plan", "check", str(file), "--config", str(config)]).exit_code == 0


def going_over_to(line: str, *, flow: str = "f", variables: tuple[str, ...] = (), template_id: str = "") -> Plan:
    template = {"name": "retry", "language": "en", "variables": variables, "id": template_id}
    over = {"line": line, "opening": {"template": template, "flow": {"id": flow}}, "silence": {"after": "2d"}}
    silence = {"after": "2d", "then": "fallback-line", "fallback": over}
    return Plan.model_validate({**PLAN.model_dump(exclude_defaults=True), "silence": silence})


def check() -> RequestCheck:
    known: dict[str, Capabilities] = {"recrubo": RECRUBO, "meta": META}
    waits = {"acme-meta": timedelta(minutes=7)}
    return RequestCheck(BOTH, known.__getitem__, lambda account: waits.get(account.slug))


@pytest.mark.parametrize(
    ("plan", "wrong"),
    [
        (going_over_to("reserve"), {}),
        (going_over_to("reserv"), {"plan.silence.fallback.line": 'did you mean "reserve"'}),
        (going_over_to("globex-line"), {"plan.silence.fallback.line": "not one of tenant acme"}),
        (going_over_to("recruiting"), {"plan.silence.fallback.line": "the engagement begins on"}),
        (going_over_to("nowhere", flow="", variables=("city",)),
         {"plan.silence.fallback.line": "no such line", "plan.silence.fallback.opening.flow.id": "missing",
          "candidate.variables.city": "no value"}),
    ],
)  # fmt: skip
def test_everything_that_is_wrong_with_the_fallback_line_is_told_before_anything_starts(
    plan: Plan, wrong: dict[str, str]
) -> None:
    found = {m.field: m.message for m in check().mistakes(request(plan=plan), NOW)}
    assert found.keys() == wrong.keys()
    assert all(said in found[field] for field, said in wrong.items())


def test_the_other_lines_provider_decides_whether_its_template_needs_an_id() -> None:
    asked = request(plan=going_over_to("recruiting"), line="reserve")
    found = [m.field for m in check().mistakes(asked, NOW)]
    assert found == ["plan.silence.fallback.opening.template.id"]


def test_the_fallback_line_is_looked_up_when_the_engagement_starts() -> None:
    route = check().fallback(request(plan=going_over_to("reserve"), candidate=CANDIDATE))
    assert route is not None
    assert (route.route.line, route.route.account, route.route.provider) == ("reserve", "acme-meta", "meta")
    assert route.route.capabilities == META
    assert route.timing.reconcile_settle == timedelta(minutes=7), "as long as this account's events may take"
    assert check().fallback(request()) is None
