"""The control API under `/control`: time, people, faults, and what was seen. For tests, demos and rehearsals only."""

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query

from sandbox.ats import Ats, AtsList
from sandbox.behind import behind
from sandbox.clock import ClockMode, ClockReading, TimeRunsForward
from sandbox.faults import Fault, FaultList, FaultView
from sandbox.personas import Seat
from sandbox.phones import PhoneFilter, PhoneList
from sandbox.traffic import CallFilter, CallList, RefusalList
from sandbox.values import Frozen, Instant
from sandbox.webhooks import AttemptList
from sandbox.world import World


class ClockSetting(Frozen):
    """What a clock is set to; ``now`` only for a manual one."""

    mode: ClockMode
    now: Instant | None = None


class ClockGoal(Frozen):
    """Where a manual clock is advanced to."""

    to: Instant


class ClockAdvanced(Frozen):
    """The clock after an advance. ``ran`` counts the steps that fell due and are done, webhooks and all."""

    now: Instant
    next_due: Instant | None
    mode: ClockMode
    ran: int


class Control:
    """Everything that is not one provider's own."""

    def __init__(self, world: World, ats: Ats, clearing: Sequence[Callable[[], None]]) -> None:
        self._world = world
        self._ats = ats
        self._clearing = clearing

    @staticmethod
    def router() -> APIRouter:
        """The addresses of the shared control API."""
        router = APIRouter(tags=["control"])
        router.add_api_route("/clock", Control.clock, methods=["GET"])
        router.add_api_route("/clock", Control.set_clock, methods=["POST"])
        router.add_api_route("/clock/advance", Control.advance, methods=["POST"])
        router.add_api_route("/phones", Control.phones, methods=["GET"])
        router.add_api_route("/phones", Control.wipe_phones, methods=["DELETE"], status_code=204)
        router.add_api_route("/phones/{number}", Control.phone, methods=["GET"])
        router.add_api_route("/calls", Control.calls, methods=["GET"])
        router.add_api_route("/calls", Control.forget_calls, methods=["DELETE"], status_code=204)
        router.add_api_route("/refusals", Control.refusals, methods=["GET"])
        router.add_api_route("/refusals", Control.forget_refusals, methods=["DELETE"], status_code=204)
        router.add_api_route("/personas", Control.personas, methods=["GET"])
        router.add_api_route("/personas", Control.seat, methods=["POST"], status_code=201)
        router.add_api_route("/personas/{number}", Control.persona, methods=["GET"])
        router.add_api_route("/personas/{number}", Control.unseat, methods=["DELETE"], status_code=204)
        router.add_api_route("/faults", Control.faults, methods=["GET"])
        router.add_api_route("/faults", Control.arm, methods=["POST"], status_code=201)
        router.add_api_route("/faults", Control.disarm_all, methods=["DELETE"], status_code=204)
        router.add_api_route("/faults/{fault_id}", Control.disarm, methods=["DELETE"], status_code=204)
        router.add_api_route("/webhooks", Control.webhooks, methods=["GET"])
        router.add_api_route("/ats", Control.ats, methods=["GET"])
        router.add_api_route("/ats", Control.forget_ats, methods=["DELETE"], status_code=204)
        router.add_api_route("/reset", Control.reset, methods=["POST"], status_code=204)
        return router

    # -- time

    async def clock(self: "Here") -> ClockReading:
        """What the clock shows and what is next."""
        return self._world.clock.reading()

    async def set_clock(self: "Here", setting: ClockSetting) -> ClockReading:
        """Stop the clock, put it to an instant, or let it follow the wall clock again."""
        try:
            await self._world.clock.set(setting.mode, setting.now)
        except TimeRunsForward as refused:
            raise HTTPException(409, str(refused)) from None
        return self._world.clock.reading()

    async def advance(self: "Here", goal: ClockGoal) -> ClockAdvanced:
        """Run all that falls due until then, in order; answered when every webhook was answered or failed."""
        try:
            ran = await self._world.clock.advance(goal.to)
        except TimeRunsForward as refused:
            raise HTTPException(409, str(refused)) from None
        reading = self._world.clock.reading()
        return ClockAdvanced(now=reading.now, next_due=reading.next_due, mode=reading.mode, ran=ran)

    # -- what was seen

    async def phones(self: "Here", wanted: Annotated[PhoneFilter, Query()]) -> PhoneList:
        """What arrived on the phones; with ``arrived=false`` what did not."""
        return self._world.phones.list(wanted)

    async def phone(self: "Here", number: str, arrived: Annotated[bool, Query()] = True) -> PhoneList:
        """What arrived on one phone."""
        return self._world.phones.list(PhoneFilter(number=number, arrived=arrived))

    async def wipe_phones(self: "Here") -> None:
        """Empty every phone."""
        self._world.phones.clear()

    async def calls(self: "Here", wanted: Annotated[CallFilter, Query()]) -> CallList:
        """What the providers were asked."""
        return self._world.traffic.calls(wanted)

    async def forget_calls(self: "Here") -> None:
        """Count calls from nothing."""
        self._world.traffic.forget_calls()

    async def refusals(self: "Here") -> RefusalList:
        """What clients did wrong, by rule."""
        return self._world.traffic.refusals()

    async def forget_refusals(self: "Here") -> None:
        """Begin an empty list of refusals."""
        self._world.traffic.forget_refusals()

    async def webhooks(
        self: "Here", event: Annotated[str, Query()] = "", about: Annotated[str | None, Query()] = None
    ) -> AttemptList:
        """Attempts to deliver webhooks; ``event`` is the beginning of a name, ``about`` a resource's id."""
        return self._world.webhooks.attempts(event, about)

    async def ats(self: "Here", tenant: Annotated[str | None, Query()] = None) -> AtsList:
        """What the recruiters' systems were told."""
        return self._ats.list(tenant)

    async def forget_ats(self: "Here") -> None:
        """Forget what the recruiters' systems were told."""
        self._ats.clear()

    # -- people and faults

    async def personas(self: "Here") -> list[Seat]:
        """Who was put where."""
        return self._world.personas.seats()

    async def persona(self: "Here", number: str) -> Seat:
        """Who answers at a number."""
        candidate = self._world.personas.at(number)
        try:
            return Seat.of(number, candidate)
        except ValueError:
            raise HTTPException(422, "a number is 7 to 15 digits without a plus sign") from None

    async def seat(self: "Here", seat: Seat) -> Seat:
        """Put a persona at a number, from the next message on."""
        self._world.personas.seat(seat)
        return seat

    async def unseat(self: "Here", number: str) -> None:
        """Leave a number to its suffix or the default."""
        self._world.personas.unseat(number)

    async def faults(self: "Here") -> FaultList:
        """All faults with their hits."""
        return self._world.faults.list()

    async def arm(self: "Here", fault: Fault) -> FaultView:
        """Let something go wrong."""
        return self._world.faults.arm(fault)

    async def disarm(self: "Here", fault_id: str) -> None:
        """Take one fault back."""
        if not self._world.faults.disarm(fault_id):
            raise HTTPException(404, "no fault of this id")

    async def disarm_all(self: "Here") -> None:
        """Take all faults back."""
        self._world.faults.clear()

    async def reset(self: "Here") -> None:
        """Forget everything but the settings and the time."""
        for clear in self._clearing:
            clear()


Here = Annotated[Control, Depends(behind(Control))]
"""This part of the sandbox that is asked."""
