"""The ceiling: a receiver that verifies and forgets. ``python -m bench.ceiling PORT SECRET``.

Plain ASGI on the same uvicorn with the same settings as the gateway's webhook listener, on the same event loop, with
the same verification. It keeps nothing, so nothing that keeps can be quicker.
"""

import socket
import sys

import uvicorn
from pydantic import SecretStr

from domain.errors import WebhookRefused
from gateway.process import BACKLOG
from gateway.webhooks import Receive, Respond, Scope
from providers.recrubo.settings import RecruboSettings
from providers.recrubo.webhook import RecruboWebhookReader
from runtime import event_loop

READY = "ceiling_ready"


class Forgetting:
    """Answers 200 to what is authentic, 401 to the rest, and does nothing else."""

    def __init__(self, secret: str) -> None:
        self._reader = RecruboWebhookReader("recrubo", (SecretStr(secret),), RecruboSettings())

    async def __call__(self, scope: Scope, receive: Receive, respond: Respond) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the ceiling speaks HTTP only, not {scope['type']}")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        status = 200
        try:
            self._reader.verify(body, headers)
        except WebhookRefused:
            status = 401
        await respond({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await respond({"type": "http.response.body", "body": b""})


class Ceiling(uvicorn.Server):
    """Says that it is ready when it listens, so that nobody comes too early."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            sys.stderr.write(f"{READY}\n")
            sys.stderr.flush()


async def main(port: int, secret: str) -> None:
    """Serve until the process is told to stop."""
    config = uvicorn.Config(
        Forgetting(secret),
        port=port,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        backlog=BACKLOG,
    )
    await Ceiling(config).serve()


if __name__ == "__main__":
    event_loop.run(main(int(sys.argv[1]), sys.argv[2]))
