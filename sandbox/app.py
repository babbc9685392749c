"""The sandbox as one ASGI application: simulators, receivers and the control API. Meta and Truora join here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from sandbox.ats import Ats
from sandbox.connection import Connection
from sandbox.control import Control
from sandbox.recrubo.api import BASE_PATH, RecruboApi
from sandbox.recrubo.control import RecruboControl
from sandbox.settings import SandboxSettings
from sandbox.world import World


def create_app(settings: SandboxSettings) -> ASGIApp:
    """Build a sandbox with an empty past.

    Addresses: Recrubo at ``/recrubo/public/v2``, ATS receivers at ``/ats/{tenant}``, the control API at ``/control``
    (described by ``/control/docs``). Needs the lifespan protocol; faults that cut connections need uvicorn.
    """
    world = World.of(settings)
    recrubo, ats = RecruboApi(world), Ats(world)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await world.webhooks.start()
        await world.clock.start()
        yield
        await world.clock.stop()
        await world.webhooks.stop()

    control = FastAPI(title="Rapport sandbox", redoc_url=None, redirect_slashes=False)
    control.include_router(Control(world, ats, (world.clear, recrubo.clear, ats.clear)).router())
    control.include_router(RecruboControl(recrubo).router())
    routes = [Mount(BASE_PATH, recrubo.app()), *ats.routes(), Mount("/control", control)]
    return Connection(Starlette(routes=routes, lifespan=lifespan), world.clock)
