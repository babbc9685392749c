"""The JSON Schema of plans, for editors: what they complete, explain and underline while a plan is written."""

import ast
import inspect
import itertools
import json
import textwrap
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from domain import budgets, free_form, plans, windows
from domain.plans import Plan

_DURATION = r"^(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?$|^P"
_SOURCES = (plans, budgets, windows, free_form)


def plan_schema() -> str:
    """The schema as JSON text, the same on every machine."""
    schema = Plan.model_json_schema(schema_generator=_Written)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    definitions = schema.get("$defs", {})
    for name, place in {Plan.__name__: schema, **definitions}.items():
        model = next((vars(source)[name] for source in _SOURCES if name in vars(source)), None)
        if isinstance(model, type):
            _explain(model, place)
    prices = definitions["Budget"]["properties"]["prices"]
    table = {"type": "array", "items": prices.pop("items")}
    prices.pop("type")
    prices["anyOf"] = [table, {"type": "string", "description": "A YAML file with this list, beside the plan."}]
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


class _Written(GenerateJsonSchema):
    """Lengths of time are written as people write them, money as a number or as text."""

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        """A length of time."""
        return {"type": "string", "pattern": _DURATION, "examples": ["2d", "36h", "90m", "30s"]}


def _explain(model: type[Any], schema: dict[str, Any]) -> None:
    """Give members the texts that stand below them in the source, which editors show."""
    texts = _texts_below(model)
    if issubclass(model, BaseModel):
        for name, text in texts.items():
            if name in schema.get("properties", {}):
                schema["properties"][name]["description"] = text
    elif texts:
        told = [f"{member.value}: {texts[member.name].rstrip('.')}" for member in model if member.name in texts]
        schema["description"] = "; ".join(told)


def _texts_below(model: type[Any]) -> dict[str, str]:
    """Members of a class with the string that follows them in its body, on one line."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    found: dict[str, str] = {}
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    for member, below in itertools.pairwise(body):
        target: ast.expr | None = member.target if isinstance(member, ast.AnnAssign) else None
        target = member.targets[0] if isinstance(member, ast.Assign) else target
        if isinstance(target, ast.Name) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[target.id] = " ".join(str(below.value.value).replace("``", "").split())
    return found
