"""The command ``codec-server``: shows payloads in Temporal UI to the entitled."""

from typing import Annotated

import typer
import uvicorn

from domain.errors import BadInput, Mistake, SetupError
from runtime.codec import AesGcmCodec
from runtime.codec_server import CodecToken, create_codec_app, require_loopback
from runtime.logging import configure_logging
from runtime.processes import key_ring
from runtime.secrets import load_keys, resolve
from runtime.settings import load_settings


def codec_server(
    *,
    dev: Annotated[bool, typer.Option("--dev", help="No token: this machine and its development key only.")] = False,
    token: Annotated[
        list[str] | None, typer.Option(help="Who may read, as name=env:VARIABLE or name=file:PATH; repeatable.")
    ] = None,
) -> None:
    """Show payloads to the entitled: decode for Temporal UI, encode for the temporal command line."""
    settings = load_settings()
    configure_logging(settings.log.format, settings.log.level)
    if dev:
        require_loopback(settings.codec.host)
        if not load_keys(settings).is_development:
            raise SetupError("--dev serves development keys only; RAPPORT_KEYS__* are set: give --token instead")
    codec = AesGcmCodec(key_ring(settings))
    app = create_codec_app(codec, [settings.codec.ui_origin], dev=dev, tokens=_tokens(token or []))
    uvicorn.run(
        app,
        host=settings.codec.host,
        port=settings.codec.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )


def _tokens(given: list[str]) -> list[CodecToken]:
    wrong = [text for text in given if not all(text.partition("="))]
    if wrong:
        raise BadInput([Mistake("must be name=env:VARIABLE or name=file:PATH", field="--token")])
    return [CodecToken(name, resolve(ref)) for name, _, ref in (text.partition("=") for text in given)]
