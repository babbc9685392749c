"""The sandbox is asked from outside for whom a payload is sealed, and asked itself only where it alone knows."""

import copy
from collections.abc import Sequence
from typing import Self

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import CommandType
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from temporalio.worker import Worker
from temporalio.worker._command_aware_visitor import CommandInfo
from temporalio.worker.workflow_sandbox._in_sandbox import InSandbox

from domain.audit import AuditLine
from runtime.dev_server import DevServer
from runtime.payloads import AUDIT_MARK, RapportPayloadConverter
from runtime.temporal import connect, data_converter, plugin
from tests.unit.runtime.telling_workflow import QUEUE, TellingWorkflow
from tests.unit.runtime.tiny_activities import tiny_activity


class Noting(PayloadCodec, WithSerializationContext):
    """Seals nothing, and notes for which workflow each payload would have been sealed."""

    def __init__(self) -> None:
        self.sealed: dict[bytes, str] = {}
        self._workflow_id = ""

    def with_context(self, context: SerializationContext) -> Self:
        bound = copy.copy(self)
        assert isinstance(context, WorkflowSerializationContext | ActivitySerializationContext)
        bound._workflow_id = context.workflow_id or ""
        return bound

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        self.sealed |= {payload.data: self._workflow_id for payload in payloads}
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return list(payloads)


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_each_payload_is_sealed_for_the_workflow_that_it_goes_to(
    server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, asked = Noting(), []
    ask = InSandbox.get_serialization_context

    def noted(self: InSandbox, command_info: CommandInfo | None) -> SerializationContext | None:
        asked.append(command_info and command_info.command_type)
        return ask(self, command_info)

    monkeypatch.setattr(InSandbox, "get_serialization_context", noted)
    client = await connect(plugin(data_converter(codec)), address=server.address)
    async with Worker(client, task_queue=QUEUE, workflows=[TellingWorkflow], activities=[tiny_activity]):
        other = await client.start_workflow(TellingWorkflow.run, "", id="other", task_queue=QUEUE)
        own = await client.start_workflow(TellingWorkflow.run, "other", id="own", task_queue=QUEUE)
        assert (await own.result(), await other.result()) == ("a-result", "for-another")

    sealed = {data.decode(): workflow_id for data, workflow_id in codec.sealed.items()}
    assert {word: sealed[f'"{word}"'] for word in ("for-an-activity", "an activity", "a-result")} == {
        "for-an-activity": "own",
        "an activity": "own",
        "a-result": "own",
    }
    assert (sealed['"for-another"'], sealed['"a wait"']) == ("other", "other")
    assert set(asked) == {CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION}


def test_what_pydantic_works_out_about_types_is_shared_by_every_converter_of_a_process() -> None:
    first, second = RapportPayloadConverter(), RapportPayloadConverter()
    assert first.converters is not second.converters
    assert first.converters[b"json/plain"] is second.converters[b"json/plain"]
    line, text = second.to_payloads([AuditLine("held"), "held"])
    assert (AUDIT_MARK in line.metadata, AUDIT_MARK in text.metadata) == (True, False)
    assert first.from_payloads([line, text], [str, str]) == ["held", "held"]
