"""Gates as Temporal workflows: how engagements join, leave and hear of a decision. Answers the port ``Gates``."""

from datetime import timedelta

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from domain import names
from domain.audit import summary
from domain.errors import Erased, NotFound, ProviderUnavailable
from domain.gates import Gate, GateDecision, JoinRequest, LeaveRequest
from domain.ids import ENGAGEMENTS_QUEUE

_ASK = timedelta(seconds=5)


class TemporalGates:
    """Signals to and from gates. What Temporal does not answer is tried again by the activity that asked."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def join(self, request: JoinRequest) -> None:
        """Signal the gate, and start it in the same call where there is none."""
        gate = request.gate
        try:
            await self._client.start_workflow(
                names.GATE,
                args=[gate, None],
                id=gate.workflow_id,
                task_queue=ENGAGEMENTS_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                start_signal=names.JOIN,
                start_signal_args=[request.join],
                static_summary=summary(summary_of(gate)),
                rpc_timeout=_ASK,
            )
        except RPCError as error:
            raise _unavailable(error) from error

    async def leave(self, request: LeaveRequest) -> None:
        """Signal the gate; one that has closed holds nobody."""
        try:
            handle = self._client.get_workflow_handle(request.gate)
            await handle.signal(names.LEAVE, request.leave, rpc_timeout=_ASK)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise _unavailable(error) from error

    async def decide(self, workflow_id: str, decision: GateDecision) -> bool:
        """Signal one engagement. False when it has closed, and for somebody who was erased: one keeps nobody else."""
        try:
            handle = self._client.get_workflow_handle(workflow_id)
            await handle.signal(names.GATE_DECISION, decision, rpc_timeout=_ASK)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise _unavailable(error) from error
        except (Erased, NotFound):  # nothing can be sealed for it any more
            return False
        return True


def summary_of(gate: Gate) -> str:
    """One line for Temporal UI."""
    return f"gate of {gate.scope_key}"


def _unavailable(error: RPCError) -> ProviderUnavailable:
    return ProviderUnavailable(f"Temporal did not take a signal ({error.status.name})", code="temporal")
