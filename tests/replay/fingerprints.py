"""The commands that a workflow's code can give, in order of appearance: what a change of them may break."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2] / "workflows"
COMMANDS = {
    "execute_activity", "start_activity", "execute_local_activity", "start_local_activity", "execute_child_workflow",
    "start_child_workflow", "sleep", "wait_condition", "continue_as_new", "upsert_search_attributes", "upsert_memo",
    "patched", "deprecate_patch", "signal_external_workflow", "get_external_workflow_handle",
}  # fmt: skip


def fingerprint() -> list[str]:
    """``module.function: command`` over every workflow module; a typed caller counts also when it is only passed on."""
    found = []
    for path in sorted(ROOT.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                nodes = [node for node in ast.walk(function) if isinstance(node, ast.Attribute | ast.Call)]
                nodes.sort(key=lambda node: (node.lineno, node.col_offset))
                found += [f"{path.stem}.{function.name}: {said}" for node in nodes if (said := _command(node))]
    return found


def _command(node: ast.Attribute | ast.Call) -> str:
    match node:
        case ast.Attribute(attr=name, value=ast.Name(id="workflow")) if name in COMMANDS:
            return name
        case ast.Attribute(attr=name, value=ast.Attribute(attr="calls")):
            return f"calls.{name}"
        case ast.Call(func=ast.Name(id="_start")):
            return f"activity {ast.unparse(node.args[0])}"
        case _:
            return ""
