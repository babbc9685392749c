"""The sandbox as one ASGI application: simulators, receivers and the control API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from sandbox.ats import Ats
from sandbox.behind import Behind
from sandbox.connection import Connection
from sandbox.control import Control
from sandbox.meta.api import BASE_PATH as META_PATH
from sandbox.meta.api import MetaApi
from sandbox.meta.control import MetaControl
from sandbox.recrubo.api import BASE_PATH, RecruboApi
from sandbox.recrubo.control import RecruboControl
from sandbox.settings import SandboxSettings
from sandbox.truora.api import BASE_PATH as TRUORA_PATH
from sandbox.truora.api import TruoraApi
from sandbox.truora.control import TruoraControl
from sandbox.world import World


def create_app(settings: SandboxSettings) -> ASGIApp:
    """Build a sandbox with an empty past.

    Addresses: Recrubo at ``/recrubo/public/v2``, Truora at ``/truora/v1``, Meta at ``/meta/{version}``, ATS
    receivers at ``/ats/{tenant}``, the control API at ``/control`` (described by ``/control/docs``). Needs the lifespan
    protocol; faults that cut connections need uvicorn.
    """
    world = World.of(settings)
    recrubo, truora, meta, ats = RecruboApi(world), TruoraApi(world), MetaApi(world), Ats(world)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await world.webhooks.start()
        await world.clock.start()
        yield
        await world.clock.stop()
        await world.webhooks.stop()

    clearing = (world.clear, recrubo.clear, truora.clear, meta.clear, ats.clear)
    control = Behind(
        _control(), Control(world, ats, clearing), RecruboControl(recrubo), TruoraControl(truora), MetaControl(meta)
    )
    routes = [
        Mount(BASE_PATH, recrubo.app()),
        Mount(TRUORA_PATH, truora.app()),
        Mount(META_PATH, meta.app()),
        *ats.routes(),
        Mount("/control", control),
    ]
    return Connection(Starlette(routes=routes, lifespan=lifespan), world.clock)


@cache
def _control() -> FastAPI:
    """The addresses of the control API. Reading their signatures takes longer than all else, so once must do."""
    control = FastAPI(title="Rapport sandbox", redoc_url=None, redirect_slashes=False)
    for part in (Control, RecruboControl, TruoraControl, MetaControl):
        control.include_router(part.router())
    return control
