"""Pauses of a whole tenant or line: nothing of it leaves until somebody resumes it; then all go on at its pace."""

from datetime import datetime

import structlog

from domain import ids, names
from domain.calls import Command, CommandResult
from domain.errors import BadInput, Mistake, NotFound
from domain.topology import Topology
from starter.gates import GateService
from store.holds import Holds, Pause, PauseScope

log = structlog.get_logger()


class PauseService:
    """Pause flags in the store, and the gates at which those wait whom they keep back."""

    def __init__(self, holds: Holds, gates: GateService, topology: Topology) -> None:
        self._holds, self._gates, self._topology = holds, gates, topology

    async def pause(self, scope: PauseScope, value: str, command: Command, at: datetime) -> CommandResult:
        """Let nothing of a tenant or line leave from the next claim of a send on; repeating is harmless.

        Raises ``BadInput`` for a tenant or line that the configuration does not name, and ``StoreUnavailable``.
        """
        self._need(scope, value)
        await self._holds.pause(
            Pause(scope=scope, scope_value=value, reason=command.reason, actor=command.actor, at=at)
        )
        log.info("paused", scope=scope.value, value=value, command_id=command.command_id, actor=command.actor)
        text = f"{scope} {value} is paused: nothing leaves until it is resumed"
        return CommandResult(command_id=command.command_id, command=names.PAUSE, accepted=True, text=text, at=at)

    async def resume(self, scope: PauseScope, value: str, command: Command, at: datetime) -> CommandResult:
        """Lift the pause, then let those go on who wait for that: through their line's queue, so at its pace.

        Raises ``BadInput``, ``StoreUnavailable`` (nothing changed), and ``EngineUnavailable``: it is resumed, but those
        who wait could not be told. Repeating tells them; by themselves they find out within the hour.
        """
        self._need(scope, value)
        paused = any(p.scope is scope and p.scope_value == value for p in await self._holds.pauses())
        await self._holds.resume(scope, value)
        log.info("resumed", scope=scope.value, value=value, command_id=command.command_id, actor=command.actor)
        gate = ids.gate_workflow_id(ids.paused_scope(scope.value, value))
        try:
            told = await self._gates.command(gate, names.RELEASE, command)
        except NotFound:
            text = "resumed; nobody waited" if paused else "it was not paused, and nobody waits"
            return CommandResult(command_id=command.command_id, command=names.RESUME, accepted=True, text=text, at=at)
        text = "resumed; those who wait go on at the line's pace"
        return told.model_copy(update={"command": names.RESUME, "text": text})

    async def pauses(self) -> tuple[Pause, ...]:
        """Every tenant and line that is paused. Raises ``StoreUnavailable``."""
        return await self._holds.pauses()

    def _need(self, scope: PauseScope, value: str) -> None:
        things = self._topology.lines if scope is PauseScope.LINE else self._topology.tenants
        known = [thing.slug for thing in things]
        if value not in known:
            raise BadInput([Mistake(f"no such {scope}; there are {', '.join(known)}", field=f"--{scope}")])
