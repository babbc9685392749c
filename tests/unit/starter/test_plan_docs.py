"""What the page on plans says is so, and what editors are told of plans is what the examples are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from domain.outcomes import EngagementOutcome
from domain.plans import Condition, FollowUp, Plan, SilenceEnd, UnexpectedText, WhenBusy
from runtime.yaml_source import read_yaml
from starter.cli import app
from starter.plans_file import Surroundings, load_plan
from tests.unit.starter.test_files import EXAMPLES

DOCS = EXAMPLES.parent / "docs"
PAGE = (DOCS / "plans.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((DOCS / "plan.schema.json").read_text(encoding="utf-8"))
PLANS = sorted(
    [
        EXAMPLES / "warehouse-intake.yaml",
        *(EXAMPLES / "demo").glob("*/plan.yaml"),
        *(path for path in (EXAMPLES / "plans").glob("*.yaml") if path.stem != "prices-eur"),
    ]
)
_FIRST_LINE = re.compile(r"# yaml-language-server: \$schema=(\S+)")


def against(schema: dict[str, Any], value: object) -> list[str]:
    """What a value has that the schema does not allow: the part of JSON Schema that ours is made of."""
    if "$ref" in schema:
        return against(SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]], value)
    one_of = schema.get("anyOf") or schema.get("oneOf")
    if one_of:
        tries = [against(one, value) for one in one_of]
        return [] if [] in tries else min(tries, key=len)
    if "const" in schema or "enum" in schema:
        return [] if value in schema.get("enum", [schema.get("const")]) else [f"{value!r} is none of the words"]
    return _of_its_kind(schema, value)


def _of_its_kind(schema: dict[str, Any], value: object) -> list[str]:
    wrong = []
    kinds = {"object": dict, "array": list | tuple, "string": str, "integer": int, "number": int | float,
             "boolean": bool, "null": type(None)}  # fmt: skip
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        return [f"{value!r} is no {schema['type']}"]
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        wrong.append(f"{value!r} has not the form {schema['pattern']}")
    if isinstance(value, list):
        wrong += [text for item in value for text in against(schema["items"], item)]
    if isinstance(value, dict):
        wrong += [f"{name} is missing" for name in schema.get("required", ()) if name not in value]
        known = schema.get("properties", {})
        for name, part in value.items():
            if name in known:
                wrong += against(known[name], part)
            elif schema.get("additionalProperties") is False:
                wrong.append(f"{name} is unknown")
    return wrong


@pytest.mark.parametrize("file", PLANS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_an_example_names_the_schema_that_is_there_and_is_right_by_it(file: Path) -> None:
    line = _FIRST_LINE.fullmatch(file.read_text(encoding="utf-8").splitlines()[0])
    assert line is not None
    assert (file.parent / line[1]).resolve() == DOCS / "plan.schema.json"
    assert against(SCHEMA, read_yaml(file).value) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("follow_ups:", "folow_ups:"), "folow_ups is unknown"),
        (("then: hand-over", "then: hand_over"), "none of the words"),
        (("after: 1d", "after: soon"), "has not the form"),
        (("language: en", "langauge: en"), "language is missing"),
        (("longest: 30d", "longest: 30"), "is no string"),
    ],
)
def test_the_schema_refuses_what_the_check_refuses(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text((EXAMPLES / "warehouse-intake.yaml").read_text(encoding="utf-8").replace(*change))
    assert any(said in text for text in against(SCHEMA, read_yaml(file).value))
    assert CliRunner().invoke(app, ["plan", "check", str(file)]).exit_code == 2


def test_the_plan_on_the_page_is_right_with_the_templates_that_are_there(tmp_path: Path) -> None:
    whole, *silences = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    its = "silence: {after: 3d, then: hand-over}\n"
    assert its in whole
    for block in (whole, *(whole.replace(its, silence) for silence in silences)):
        (tmp_path / "plan.yaml").write_text(block, encoding="utf-8")
        plan = load_plan(tmp_path / "plan.yaml", Surroundings(columns=("first_name", "job_title")))
        assert _FIRST_LINE.match(block) is not None
        assert plan.follow_ups


def test_the_page_names_every_member_every_word_and_every_outcome() -> None:
    table = " ".join(re.findall(r"^\| (`[^|]*`(?: |,)[^|]*)\|", PAGE, re.MULTILINE)) + PAGE
    for name in Plan.model_fields:
        assert f"`{name}" in table, name
    for name in FollowUp.model_fields:
        assert f"`{name}`" in PAGE or f".{name}`" in PAGE, name
    on = SCHEMA["$defs"]["Signal"]["enum"]
    for word in (*on, *Condition, *UnexpectedText, *SilenceEnd, *WhenBusy):
        assert f"`{word}`" in PAGE, word
    for outcome in EngagementOutcome:
        assert outcome.value in PAGE, outcome


def test_every_command_on_the_page_exists_with_its_options() -> None:
    commands = re.findall(r"`rapport (plan [a-z]+)", PAGE)
    assert set(commands) == {"plan check", "plan schema", "plan migrate"}
    told = "".join(CliRunner().invoke(app, ["plan", word, "--help"]).output for word in ("check", "migrate"))
    assert all(option in told for option in re.findall(r"--[a-z]+", PAGE))
