"""Gates as people operate them: what is held, who waits, and an operator's word that opens or refuses."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

import structlog
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from domain import ids, names
from domain.audit import AuditLine
from domain.calls import Command, CommandResult
from domain.errors import EngineUnavailable, NotAllowed, NotFound
from domain.gates import Gate, GateResult, GateSnapshot
from domain.holds import HoldRow
from domain.model import Model
from runtime.gates import summary_of
from starter.engine import QUERY_TIME, START_TIME, UPDATE_TIME
from store.holds import Holds

log = structlog.get_logger()

MOST_GATES = 200
"""More open gates than a person can look through; the list says when there are more."""
AT_ONCE = 16
"""Queries under way at the same time, each of which a worker answers."""
OPEN_GATES = f"WorkflowType = '{names.GATE}' AND ExecutionStatus = 'Running'"


class OpenGate(Model):
    """A gate at which somebody waits. Without a snapshot ``note`` says why there is none."""

    gate: str
    snapshot: GateSnapshot | None = None
    note: str = ""


class Held(Model):
    """Everything that is held now. ``more``: there are more gates than are shown."""

    holds: tuple[HoldRow, ...] = ()
    gates: tuple[OpenGate, ...] = ()
    more: bool = False
    note: str = ""


class GateService:
    """Gates through one Temporal client, lazy or not, and hold rows. Methods raise ``EngineUnavailable``."""

    def __init__(self, client: Client, holds: Holds) -> None:
        self._client, self._holds = client, holds

    async def watch(self, gate: Gate) -> str:
        """Open this gate unless it is open; gives its id. Repeating is harmless."""
        with _answers("open the gate", gate.workflow_id):
            await self._client.start_workflow(
                names.GATE,
                args=[gate, None],
                id=gate.workflow_id,
                task_queue=ids.ENGAGEMENTS_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=AuditLine(summary_of(gate)),
                rpc_timeout=START_TIME,
            )
        return gate.workflow_id

    async def snapshot(self, gate: str) -> GateSnapshot:
        """Where a gate stands; where one has closed, how its last run ended. Raises ``NotFound``."""
        with _answers("ask the gate", gate):
            try:
                answer: GateSnapshot = await self._client.get_workflow_handle(gate).query(
                    names.SNAPSHOT, result_type=GateSnapshot, rpc_timeout=QUERY_TIME
                )
            except WorkflowQueryFailedError as error:
                text = f"the gate {gate} did not answer its query: see the worker's log"
                raise EngineUnavailable(text) from error
        return answer

    async def is_open(self, gate: str) -> bool:
        """Whether a gate is open now."""
        try:
            with _answers("look at the gate", gate):
                seen = await self._client.get_workflow_handle(gate).describe(rpc_timeout=QUERY_TIME)
        except NotFound:
            return False
        return seen.status is WorkflowExecutionStatus.RUNNING

    async def follow(self, gate: str, every: timedelta) -> AsyncIterator[GateSnapshot]:
        """The gate's snapshots as it moves, until it closes; the last one is that of its end.

        ``every``: the pause between two questions. A worker that does not answer for a while is waited for. A look
        that brought nothing new is no move.
        """
        told = None
        while True:
            still_open = await self.is_open(gate)
            with suppress(EngineUnavailable):
                snapshot = await self.snapshot(gate)
                if _moves(snapshot) != told:
                    yield snapshot
                told = _moves(snapshot)
            if not still_open:
                return
            await asyncio.sleep(every / timedelta(seconds=1))

    async def result(self, gate: str) -> GateResult:
        """What a gate became; waits until it closes. Raises ``NotFound``."""
        with _answers("wait for the gate", gate):
            handle = self._client.get_workflow_handle(gate, result_type=GateResult)
            result: GateResult = await handle.result()
        return result

    async def look(self, gate: str) -> OpenGate:
        """Where a gate stands, or why nobody says so."""
        try:
            return OpenGate(gate=gate, snapshot=await self.snapshot(gate))
        except (EngineUnavailable, NotFound) as error:
            return OpenGate(gate=gate, note=str(error))

    async def held(self, at: datetime, *, limit: int = MOST_GATES) -> Held:
        """Every hold in force at ``at`` and every open gate, each with its snapshot where a worker answers.

        Where Temporal does not answer the holds are told all the same, with a note.
        """
        rows = await self._holds.active(at)
        try:
            found = await self._open_gates(limit + 1)
        except EngineUnavailable as error:
            return Held(holds=rows, note=f"only the holds are shown: {error}")
        limiter = asyncio.Semaphore(AT_ONCE)
        told = await asyncio.gather(*(self._told(gate, limiter) for gate in found[:limit]))
        return Held(holds=rows, gates=tuple(told), more=len(found) > limit)

    async def command(self, gate: str, update: str, command: Command) -> CommandResult:
        """Give an operator's command. The command id makes a repeat return the first result.

        Raises ``NotAllowed`` when the gate refuses, ``NotFound`` when it is not open.
        """
        repeat = f"it may still be carried out; repeat it with the same command id {command.command_id}"
        with _answers(f"carry out {update}", gate, repeat):
            try:
                result: CommandResult = await self._client.get_workflow_handle(gate).execute_update(
                    update, command, id=command.command_id, result_type=CommandResult, rpc_timeout=UPDATE_TIME
                )
            except WorkflowUpdateFailedError as error:
                if isinstance(error.cause, ApplicationError) and error.cause.type == names.NOT_ALLOWED:
                    raise NotAllowed(error.cause.message) from None
                raise
            except WorkflowUpdateRPCTimeoutOrCancelledError:
                raise EngineUnavailable(f"no worker answered {update} in time: {repeat}") from None
        log.info("gate_command_given", gate=gate, command=update, command_id=command.command_id, actor=command.actor)
        return result

    async def open(self, gate: str, command: Command, at: datetime) -> CommandResult:
        """Let everybody go on who waits at this gate, and lift its hold; where nobody waits the hold is lifted.

        Raises ``NotFound`` when there is neither, and ``NotAllowed`` for a pause: that is ended by resuming it.
        """
        paused = ids.pause_in(gate.removeprefix(ids.gate_workflow_id("")))
        if paused is not None:
            scope, value = paused
            raise NotAllowed(f"{scope} {value} is paused, not held: rapport resume --{scope} {value} --reason ...")
        try:
            return await self.command(gate, names.RELEASE, command)
        except NotFound:
            scope_key = gate.removeprefix(ids.gate_workflow_id(""))
            if await self._holds.standing([scope_key], at) is None:
                raise
            await self._holds.lift(scope_key)
        log.info("hold_lifted", scope_key=scope_key, command_id=command.command_id, actor=command.actor)
        text = "nobody waited; the hold is lifted"
        return CommandResult(command_id=command.command_id, command=names.RELEASE, accepted=True, text=text, at=at)

    async def _open_gates(self, limit: int) -> list[str]:
        with _answers("list gates", "", "try again"):
            runs = self._client.list_workflows(OPEN_GATES, limit=limit, rpc_timeout=QUERY_TIME)
            return sorted([run.id async for run in runs])

    async def _told(self, gate: str, limiter: asyncio.Semaphore) -> OpenGate:
        async with limiter:
            return await self.look(gate)


def _moves(snapshot: GateSnapshot) -> tuple[object, ...]:
    return snapshot.status, snapshot.waiting, snapshot.reason, snapshot.needs_human, snapshot.decisions


def gate_id(text: str) -> str:
    """The id of a gate by that id or by the key of what it holds, as in ``line:recruiting``."""
    start = ids.gate_workflow_id("")
    return text if text.startswith(start) else ids.gate_workflow_id(text)


@contextmanager
def _answers(what: str, gate: str, advice: str = "is a worker running?") -> Iterator[None]:
    """Only around calls of the client: a lazy client that cannot connect raises a plain ``RuntimeError``."""
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotFound(f"{gate} is not open: nobody waits there") from None
        raise EngineUnavailable(f"Temporal could not {what} ({error.status.name.lower()}): {advice}") from error
    except RuntimeError as error:
        raise EngineUnavailable(f"Temporal could not {what} (no connection): {advice}") from error
