"""A second line of the tenant, of an account and a provider of its own."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from domain.engagements import FallbackRoute, Route
from domain.plans import Plan
from tests.workflow.scripted import PUSHED, ScriptedProvider
from tests.workflow.stage import TIMING, Play, Stage

RATE = 10_000


@dataclass
class SecondLine:
    """Where engagements of the stage may go over to."""

    stage: Stage
    name: str
    provider: ScriptedProvider

    @property
    def route(self) -> FallbackRoute:
        """As an engagement gets it when it starts."""
        its = Route(account=self.name, line=self.name, provider="other", capabilities=self.provider.capabilities)
        return FallbackRoute(route=its, timing=TIMING)

    async def play(self, its: Plan) -> Play:
        """Start an engagement that may go over to this line."""
        return await self.stage.play(its, fallback=self.route)


@asynccontextmanager
async def open_second_line(stage: Stage, name: str = "") -> AsyncIterator[SecondLine]:
    """Poll for a second account with one line."""
    line = SecondLine(stage, name or f"second-{uuid.uuid4().hex[:8]}", ScriptedProvider(PUSHED, ids="second-"))
    stage.accounts.others[line.name] = line.provider
    async with stage.workers.line(line.name, RATE), stage.workers.lookups(line.name, RATE):
        yield line
