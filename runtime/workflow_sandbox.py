"""The sandbox that workflows run in, left alone by questions that can be answered from outside."""

from dataclasses import dataclass

from temporalio.api.enums.v1 import CommandType
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import (
    SerializationContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
    WorkflowSerializationContext,
)
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker._command_aware_visitor import CommandInfo  # named by the signatures that are overridden
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import Info

_OWN = (CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK, CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
"""Commands whose payloads are the workflow's own. Another workflow's are those of a child and of an outgoing signal."""


@dataclass(frozen=True)
class WorkflowSandbox(SandboxedWorkflowRunner):
    """The SDK's sandbox, which knows for whom a payload is sealed without running code inside itself.

    The SDK asks that several times for each payload of a task, and each time compiles and runs a few lines within the
    sandbox: together a sixth of a worker's processor time.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """The sandbox of one run."""
        return _Instance(super().create_instance(det), det.info)


class _Instance(WorkflowInstance):
    def __init__(self, sandboxed: WorkflowInstance, info: Info) -> None:
        self._sandboxed = sandboxed
        self._context = WorkflowSerializationContext(namespace=info.namespace, workflow_id=info.workflow_id)
        self._stored_for = StorageDriverStoreContext(
            target=StorageDriverWorkflowInfo(
                id=info.workflow_id, run_id=info.run_id, type=info.workflow_type, namespace=info.namespace
            )
        )

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return self._sandboxed.activate(act)

    def get_serialization_context(self, command_info: CommandInfo | None) -> SerializationContext | None:
        """An activity's payloads get the workflow's context too: whose they are is all that our codec asks."""
        if command_info is None or command_info.command_type in _OWN:
            return self._context
        return self._sandboxed.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: CommandInfo | None) -> StorageDriverStoreContext:
        if command_info is None or command_info.command_type in _OWN:
            return self._stored_for
        return self._sandboxed.get_external_store_context(command_info)

    def get_info(self) -> Info:
        return self._sandboxed.get_info()

    def get_thread_id(self) -> int | None:
        return self._sandboxed.get_thread_id()
