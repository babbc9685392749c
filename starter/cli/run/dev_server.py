"""The command ``dev-server``: a Temporal server on this machine."""

import asyncio
import contextlib
from typing import Annotated

import typer

from runtime.serve_temporal import PORT, UI_PORT, serve
from runtime.settings import load_settings


def dev_server(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Temporal.")] = PORT,
    ui_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Temporal UI.")] = UI_PORT,
) -> None:
    """Run a Temporal server with UI on this machine until Ctrl-C; its data stay in the state directory."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(load_settings(), port, ui_port))
