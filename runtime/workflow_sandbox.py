"""The sandbox that workflows run in: made once for all runs of a workflow that can share it, and asked little."""

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType

from temporalio import workflow
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
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.worker.workflow_sandbox._importer import Importer  # what the SDK's own sandbox is made of
from temporalio.worker.workflow_sandbox._in_sandbox import InSandbox
from temporalio.worker.workflow_sandbox._restrictions import RestrictedModule, RestrictionContext
from temporalio.workflow import Info

from runtime.unchanging import bindings_of, changeable_in

_OWN = (CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK, CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
"""Commands whose payloads are the workflow's own. Another workflow's are those of a child and of an outgoing signal."""


class _Watch(RestrictionContext, threading.local):
    """Whether a workflow runs just now, for each thread: one that leaves the sandbox opens it for no other."""


class Room:
    """A workflow's module as the sandbox loaded it: watched builtins, watched modules, code that sees nothing else."""

    def __init__(self, workflow_class: type, restrictions: SandboxRestrictions) -> None:
        self._watch = _Watch()
        self._importer = Importer(restrictions, self._watch, workflow_module_name=workflow_class.__module__)
        with self._applied():
            module = self._importer.import_func(workflow_class.__module__, fromlist=(workflow_class.__name__,))
        self.workflow_class: type = getattr(module, workflow_class.__name__)
        self._own = [one for name, one in self._importer.new_modules.items() if _is_own(name, one)]
        self.is_shareable = not any(changeable_in(one) for one in self._own)
        self._as_loaded = [bindings_of(one) for one in self._own]

    @contextmanager
    def entered(self, *, in_activation: bool) -> Iterator[None]:
        """Let this thread run workflow code here, watched."""
        self._watch.is_runtime, self._watch.in_activation = True, in_activation
        try:
            with self._applied():
                yield
        finally:
            self._watch.is_runtime = self._watch.in_activation = False

    def check(self) -> None:
        """Raise ``RuntimeError`` where a run has changed what the others share."""
        if not all(_is_same(bindings_of(one), was) for one, was in zip(self._own, self._as_loaded, strict=True)):
            raise RuntimeError(
                f"a run of {self.workflow_class.__name__} bound a name of its module or class anew: "
                "what a run remembers belongs into its own object, other runs share the module"
            )

    @contextmanager
    def _applied(self) -> Iterator[None]:
        workflow.unsafe._set_in_sandbox(True)  # noqa: SLF001 - as the SDK's own sandbox does
        try:
            with self._importer.applied():
                yield
        finally:
            workflow.unsafe._set_in_sandbox(False)  # noqa: SLF001


def _is_own(name: str, module: ModuleType) -> bool:
    """Whether the sandbox made its own copy of a module, in place of passing the process's through."""
    return not isinstance(module, RestrictedModule) and name != "__main__" and module is not sys.modules.get(name)


def _is_same(now: Mapping[str, object], was: Mapping[str, object]) -> bool:
    return now.keys() == was.keys() and all(now[name] is value for name, value in was.items())


@dataclass(frozen=True)
class WorkflowSandbox(SandboxedWorkflowRunner):
    """The SDK's sandbox, in which runs of one workflow share its module, and which answers some questions outside.

    The SDK loads the module anew for each run, so that none finds what another left there: 7 ms of a core, on the
    loop. Here the same watched module serves all of them where it holds nothing that could be left, and a name that
    is bound anew stops whatever would begin after. A module that does hold something is loaded for each run, as ever.

    The SDK asks several times for each payload of a task for whom it is sealed, and each time compiles and runs a few
    lines within the sandbox: together a sixth of a worker's processor time. That is known outside.
    """

    _rooms: dict[type, Room] = field(default_factory=dict, init=False, repr=False, compare=False)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """The sandbox of one run."""
        room = self._rooms.get(det.defn.cls)
        if room is None:
            room = self._rooms[det.defn.cls] = Room(det.defn.cls, self.restrictions)
        if not room.is_shareable:
            return _Instance(super().create_instance(det), det.info)
        room.check()
        return _Instance(_InRoom(room, det, self), det.info)


class _InRoom(WorkflowInstance):
    """One run among those that share a module."""

    def __init__(self, room: Room, det: WorkflowInstanceDetails, runner: SandboxedWorkflowRunner) -> None:
        self._room, self._info = room, det.info
        self._thread_id: int | None = None
        with self._entered(in_activation=False):
            self._inside = InSandbox(det, runner.runner_class, room.workflow_class)

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        with self._entered(in_activation=True):
            return self._inside.activate(act)

    def get_serialization_context(self, command_info: CommandInfo | None) -> SerializationContext | None:
        with self._entered(in_activation=False):
            return self._inside.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: CommandInfo | None) -> StorageDriverStoreContext:
        with self._entered(in_activation=False):
            return self._inside.get_external_store_context(command_info)

    def get_info(self) -> Info:
        return self._info

    def get_thread_id(self) -> int | None:
        """The thread that runs it just now: the SDK stops one that does not come back."""
        return self._thread_id

    @contextmanager
    def _entered(self, *, in_activation: bool) -> Iterator[None]:
        self._thread_id = threading.get_ident()
        try:
            with self._room.entered(in_activation=in_activation):
                yield
        finally:
            self._thread_id = None


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
