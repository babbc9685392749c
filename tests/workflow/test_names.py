"""Names and types of activities as workflows call them are those that workers register."""

import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from temporalio import activity, workflow
from temporalio.workflow import ActivityHandle, _Definition

from activities import sends
from activities.gates import GateActivities, TemplateActivities
from activities.lookups import LookupActivities
from activities.records import RecordActivities
from activities.sends import SendActivities
from domain.engagements import Timing
from domain.errors import Scope
from domain.gates import Gate, GateDecision, GateLeave, GateVerdict
from domain.outcomes import EngagementOutcome, EngagementResult, Settlement
from domain.plans import FlowRef, TemplateRef
from domain.sends import LedgerState
from workflows import calls
from workflows.calls import Calls
from workflows.engagement import EngagementWorkflow
from workflows.gate import GateWorkflow
from workflows.gate_calls import GateCalls

PINNED = {
    "admit-engagement", "record-send", "close-engagement", "notify-ats", "ensure-template-approved", "open-thread",
    "check-flow-run", "reconcile-send", "end-conversation", "trigger-flow", "send-message", "join-gate", "leave-gate",
    "release-waiters", "read-template", "submit-template",
}  # fmt: skip


def registered() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for owner in (SendActivities, LookupActivities, RecordActivities, GateActivities, TemplateActivities):
        for _, method in inspect.getmembers(owner, inspect.isfunction):
            definition = activity._Definition.from_callable(method)
            if definition is not None and definition.name is not None:
                found[definition.name] = method
    return found


def test_every_activity_has_the_name_that_open_engagements_know() -> None:
    assert set(registered()) == PINNED


def test_the_workflow_and_its_messages_have_the_names_that_open_engagements_know() -> None:
    definition = _Definition.must_from_class(EngagementWorkflow)
    assert definition.name == "candidate-engagement"
    assert set(definition.signals) == {"provider-events", "gate-decision", "contact-changed", "contact-free"}
    assert set(definition.updates) == {
        *("stop", "hand-over", "resolve-send", "resend", "pause", "resume", "mark-answered", "ats-status"),
        "migrate-plan",
    }
    assert set(definition.queries) == {"snapshot", "may-migrate"}


def test_the_gate_and_its_messages_have_the_names_that_open_gates_know() -> None:
    definition = _Definition.must_from_class(GateWorkflow)
    assert definition.name == "gate"
    assert set(definition.signals) == {"join", "leave", "template-status"}
    assert set(definition.updates) == {"release", "reject", "recheck", "resubmit"}
    assert set(definition.queries) == {"snapshot"}


def test_the_durable_logic_names_no_provider() -> None:
    rooms = [Path(calls.__file__).parent, Path(sends.__file__).parent]
    named = [
        f"{path.name}: {word}"
        for room in rooms
        for path in sorted(room.glob("*.py"))
        for word in re.findall(r"recrubo|whatsapp|\bmeta\b|truora|twilio", path.read_text(), re.IGNORECASE)
    ]
    assert named == []


def test_callers_ask_for_what_activities_give(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, type, type]] = []

    def start(name: str, request: object, **options: Any) -> object:
        started.append((name, type(request), options["result_type"]))
        assert options["start_to_close_timeout"] > timedelta(0)
        assert options["summary"]
        return object()

    monkeypatch.setattr(workflow, "start_activity", start)
    gate = Gate(scope=Scope.ACCOUNT, account="a")
    callers = [
        *inspect.getmembers(Calls(Timing()), inspect.ismethod),
        *inspect.getmembers(GateCalls(gate), inspect.ismethod),
    ]
    for name, method in callers:
        hints = get_type_hints(method)
        if name.startswith("_") or getattr(hints.get("return"), "__origin__", None) is not ActivityHandle:
            continue
        request = next(iter(inspect.signature(method).parameters.values()))
        model = hints[request.name]
        for built in _examples(model):
            arguments: list[object] = [built]
            if "left" in inspect.signature(method).parameters:
                arguments.append(timedelta(hours=1))
            if "why" in inspect.signature(method).parameters:
                arguments.append("because")
            method(*arguments)
    activities = registered()
    assert {name for name, _, _ in started} == set(activities)
    for name, request_type, result_type in started:
        hints = get_type_hints(activities[name])
        answer = hints.pop("return")
        assert next(iter(hints.values())) is request_type, name
        assert answer in {result_type, result_type | None}, name


def _examples(model: type[Any]) -> list[Any]:
    """Instances with whatever the callers read from them; the rest of the fields does not matter here."""
    template = TemplateRef(name="intake_v1", language="nl")
    settlement = Settlement(outcome=EngagementOutcome.COMPLETED, rule="", reason="", at=datetime.now(UTC))
    result = EngagementResult(tenant="acme", reference="r", settlement=settlement, sends=1)
    common: dict[str, object] = {
        "account": "a", "line": "l", "step": "opening", "n": 1, "template": template, "final": True, "result": result,
        "state": LedgerState.SENT, "gate": Gate(scope=Scope.ACCOUNT, account="a"), "workflow_ids": (),
        "leave": GateLeave(workflow_id="w", at=datetime.now(UTC)),
        "decision": GateDecision(gate="g", verdict=GateVerdict.OPEN, reason="r", at=datetime.now(UTC)),
    }  # fmt: skip
    if model.__name__ == "Send":
        return [model.model_construct(**common, flow=flow) for flow in (FlowRef(id="f"), None)]
    return [model.model_construct(**common)]
