"""The command ``sandbox``: strict simulators of the providers, with candidates that answer."""

from pathlib import Path
from typing import Annotated

import typer

from domain.errors import SetupError
from sandbox.serve import serve
from sandbox.settings import BadSandboxSettings, load


def sandbox(
    config: Annotated[Path, typer.Option("--config", help="Accounts, templates, flows and personas: YAML or JSON.")],
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Simulate the providers on this machine: nothing leaves it, nobody is written to."""
    try:
        settings = load(config)
    except BadSandboxSettings as error:
        raise SetupError(str(error)) from None
    try:
        serve(settings if port is None else settings.model_copy(update={"port": port}))
    except OSError as error:
        raise SetupError(f"the sandbox cannot listen ({error.strerror}): is another running? try --port 0") from None
