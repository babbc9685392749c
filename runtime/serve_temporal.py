"""Runs a Temporal dev server for a developer until Ctrl-C: data kept in the state directory, UI, codec server."""

import asyncio
import sys

from domain.errors import SetupError
from runtime.dev_server import DevServer
from runtime.settings import Settings, load_settings
from runtime.temporal_binary import to_stderr
from workflows.search_attributes import ALL

PORT = 7233
UI_PORT = 8233
"""The ports that Temporal's own documentation and clients assume."""


async def serve(settings: Settings, port: int = PORT, ui_port: int = UI_PORT) -> None:
    """Run the server until cancelled. Raises ``SetupError`` when it cannot start or ends by itself."""
    async with await DevServer.start(
        data=settings.state_dir / "temporal.sqlite3",
        port=port,
        ui=True,
        ui_port=ui_port,
        codec_endpoint=f"http://{settings.codec.host}:{settings.codec.port}",
        search_attributes=ALL,
    ) as server:
        to_stderr(f"Temporal serves on {server.address}, Temporal UI on {server.ui_url}; Ctrl-C ends it")
        await server.ended()
    raise SetupError("the Temporal dev server ended by itself")


def main() -> int:
    """For ``make temporal``."""
    try:
        asyncio.run(serve(load_settings()))
    except KeyboardInterrupt:
        return 0
    except SetupError as error:
        to_stderr(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
