"""The command ``codec-server``: shows payloads in Temporal UI to the entitled."""

import asyncio
from typing import Annotated

import typer
import uvicorn
from pydantic import SecretStr

from domain.errors import BadInput, Mistake, SetupError
from runtime.codec_desk import CodecDesk
from runtime.codec_server import DevelopmentEntrance, Entrance, create_codec_app, require_loopback
from runtime.logging import configure_logging
from runtime.oidc import identity_tokens
from runtime.processes import key_ring
from runtime.secrets import load_keys, resolve
from runtime.settings import Settings, load_settings
from runtime.topology import load_topology
from starter.codec_access import CodecEntrance
from starter.parts import tokens_of
from starter.tokens import AccessTokens, ServiceTokens
from store.master_keys import require_master_keys
from store.migrate import upgrade
from store.stores import Stores


def codec_server(
    *,
    dev: Annotated[bool, typer.Option("--dev", help="No token: this machine and its development key only.")] = False,
    token: Annotated[
        list[str] | None,
        typer.Option(help="Who may read everything, as name=env:VARIABLE or name=file:PATH; repeatable."),
    ] = None,
) -> None:
    """Show payloads to the entitled: decode for Temporal UI, encode for the temporal command line.

    The tokens of the configuration file with the role read see what is their tenant's; --token sees all tenants.
    """
    settings = load_settings()
    configure_logging(settings.log.format, settings.log.level)
    if dev:
        if token:
            raise BadInput([Mistake("not together with --dev, which asks nobody for a token", field="--token")])
        require_loopback(settings.codec.host)
        if not load_keys(settings).is_development:
            raise SetupError("--dev serves development keys only; RAPPORT_KEYS__* are set: give --token instead")
    entrance: Entrance = DevelopmentEntrance() if dev else _entrance(settings, token or [])
    asyncio.run(_serve(settings, entrance))


async def _serve(settings: Settings, entrance: Entrance) -> None:
    keys, url = key_ring(settings), settings.store_url.get_secret_value()
    if settings.is_single_machine:
        await asyncio.to_thread(upgrade, url)
    async with Stores.open(url, keys) as stores:
        await require_master_keys(stores.database, keys)
        app = create_codec_app(CodecDesk(stores.data_keys, keys), [settings.codec.ui_origin], entrance)
        config = uvicorn.Config(
            app,
            host=settings.codec.host,
            port=settings.codec.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        await uvicorn.Server(config).serve()


def _entrance(settings: Settings, given: list[str]) -> CodecEntrance:
    services = ServiceTokens(_tokens(given))
    # a server for the installation's own people alone needs no configuration file
    tokens = AccessTokens([]) if settings.config is None else tokens_of(load_topology(settings.config), resolve)
    return CodecEntrance(tokens, services, identity_tokens(settings.codec))


def _tokens(given: list[str]) -> list[tuple[str, SecretStr]]:
    wrong = [text for text in given if not all(text.partition("="))]
    if wrong:
        raise BadInput([Mistake("must be name=env:VARIABLE or name=file:PATH", field="--token")])
    return [(name, resolve(ref)) for name, _, ref in (text.partition("=") for text in given)]
