"""Metrics and addresses name kinds and places, never a person: found in the source, not listed."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry

from gateway.metrics import GatewayMetrics

ROOT = Path(__file__).parents[3]
OURS = ("domain", "activities", "workflows", "providers", "store", "gateway", "starter", "runtime")
KNOWN_LABELS = {"provider", "account", "verdict", "kind", "result", "state", "work", "error", "queue", "change"}
"""Labels whose values are configured names and words of ours. A new one is a decision: what may its values be?"""

MAKES_METRICS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}


@cache
def calls() -> tuple[tuple[str, ast.Call], ...]:
    return tuple(_calls())


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for package in (*OURS, "worker.py"):
        for file in sorted((ROOT / package).rglob("*.py")) or [ROOT / package]:
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", node


def name_of(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def test_every_label_of_every_metric_is_one_that_was_thought_about() -> None:
    found: dict[str, set[str]] = {}
    for place, call in calls():
        if name_of(call) in MAKES_METRICS and len(call.args) >= 2:
            labels = (
                call.args[2]
                if len(call.args) > 2
                else next((word.value for word in call.keywords if word.arg == "labelnames"), ast.Tuple(elts=[]))
            )
            assert isinstance(labels, ast.Tuple | ast.List), f"{place}: labels are written where the metric is made"
            found[place] = {str(one.value) for one in labels.elts if isinstance(one, ast.Constant)}
    assert len(found) >= 7
    assert set().union(*found.values()) <= KNOWN_LABELS, found


def test_the_labels_of_metrics_by_the_sdk_are_written_out() -> None:
    """Attributes of ``add``, ``set`` and ``record`` stand there as a literal whose names are known."""
    found: set[str] = set()
    for place, call in calls():
        if name_of(call) in {"add", "set", "record"} and len(call.args) == 2 and isinstance(call.args[1], ast.Dict):
            names = {str(one.value) for one in call.args[1].keys if isinstance(one, ast.Constant)}
            assert names <= KNOWN_LABELS, place
            found |= names
        assert not [word for word in call.keywords if word.arg == "additional_attributes"], place
    assert found


def test_no_address_that_we_open_or_serve_has_a_place_for_what_is_personal() -> None:
    """Routes name what they are about by reference, contact id or job; a number or a name would be in every log."""
    places: set[str] = set()
    for _, call in calls():
        if name_of(call) in {"get", "post", "put", "patch", "delete"} and call.args:
            for part in ast.walk(call.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.startswith("/v1/"):
                    places |= set(re.findall(r"\{(\w+)\}", part.value))
    assert places <= {"reference", "who", "job"}, places
    assert "reference" in places


def test_what_a_gateway_counts_has_no_label_beside_those() -> None:
    registry = CollectorRegistry()
    GatewayMetrics(registry)
    labels = {name for metric in registry.collect() for sample in metric.samples for name in sample.labels}
    assert labels - {"le"} <= KNOWN_LABELS
