"""What the page and the examples say of templates is so."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from domain.plans import Plan
from providers.registry import provider_kind
from runtime.topology import load_topology
from starter.cli import app
from starter.plans_file import load_plan
from starter.templates_file import check_templates
from tests.unit.starter.test_files import EXAMPLES

PAGE = (EXAMPLES.parent / "docs" / "templates.md").read_text(encoding="utf-8")
DEMO = EXAMPLES / "demo" / "rapport.yaml"
TEMPLATES = EXAMPLES / "templates"
PLANS = (EXAMPLES / "warehouse-intake.yaml", *sorted((EXAMPLES / "demo").glob("*/plan.yaml")))


def rapport(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_CONFIG", str(DEMO))


@pytest.mark.usefixtures("configured")
def test_the_examples_are_right_for_the_demo_and_for_the_example_configuration() -> None:
    told = rapport("templates", "check", str(TEMPLATES), "--json")

    assert told.exit_code == 0, told.output
    assert len({one["fingerprint"] for one in json.loads(told.stdout)}) == len(list(TEMPLATES.glob("*.yaml")))
    assert all(one["accounts"] for one in json.loads(told.stdout))
    assert check_templates(TEMPLATES, load_topology(EXAMPLES / "rapport.yaml")).templates


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.parent.name)
def test_every_template_of_an_example_plan_has_its_specification_unless_it_is_made_by_hand(file: Path) -> None:
    topology, plan = load_topology(DEMO), load_plan(file)
    folder = check_templates(TEMPLATES, topology)
    (account,) = [a for a in topology.accounts if a.provider == provider_of(file, plan)]
    for template in plan.templates():
        specification = folder.find(account.slug, template)
        assert (specification is not None) is provider_kind(account.provider).capabilities.can_create_templates
        if specification is not None:
            assert len(specification.variables) == len(template.variables)
            assert (specification.flow is not None) is (account.provider == "meta" and plan.opening.flow is not None)


def provider_of(file: Path, plan: Plan) -> str:
    return "recrubo" if plan.name == "warehouse-intake" else file.parent.name


@pytest.mark.usefixtures("configured")
def test_the_specification_on_the_page_is_right(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for n, block in enumerate(blocks):
        (tmp_path / f"{n}.yaml").write_text(block)
    assert rapport("templates", "check", str(tmp_path)).exit_code == 0


def test_every_command_on_the_page_exists_with_its_options() -> None:
    commands = re.findall(r"`rapport ((?:templates|holds) [a-z]+)([^`]*)`", PAGE)
    groups = {name: rapport(name, "--help").output for name in ("templates", "holds")}
    for command, rest in commands:
        page = rapport(*command.split(), "--help")
        assert page.exit_code == 0, command
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in page.output, (command, option)
    shown = {command for command, _ in commands}
    offered = {
        f"{group} {name}"
        for group, text in groups.items()
        for name in re.findall(r"^[│ ] ?([a-z]+)\s{2,}", text, re.MULTILINE)
    }
    assert offered == shown


@pytest.mark.usefixtures("configured")
def test_check_tells_every_mistake_and_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text("name: A\nlanguage: en\nprovider: truora\ncategory: UTILITY\nbody: ''\n")
    (tmp_path / "b.yaml").write_text("nmae: a\n")
    wrong = rapport("templates", "check", str(tmp_path))
    monkeypatch.setenv("RAPPORT_TEMPLATES", str(TEMPLATES))
    right = rapport("templates", "check")

    assert wrong.exit_code == 2
    lines = wrong.stderr.splitlines()
    assert lines[-1] == "9 mistakes; nothing was started"
    assert any(line.startswith(f"{tmp_path / 'a.yaml'}:3: provider: Truora makes outbounds") for line in lines)
    assert f'{tmp_path / "b.yaml"}:1: nmae: unknown name; did you mean "name"?' in lines
    assert right.exit_code == 0
    assert "nothing is wrong" in right.output


@pytest.mark.usefixtures("configured")
def test_check_without_a_folder_says_how_to_name_one() -> None:
    result = rapport("templates", "check")
    assert result.exit_code == 1
    assert "RAPPORT_TEMPLATES" in result.stderr
