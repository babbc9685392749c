"""The real Meta client against the strict sandbox, and the bodies that it writes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from domain.model import JsonValue
from providers.meta.client import MetaClient, meta_http
from providers.meta.provisioning import MetaProvisioning
from providers.meta.template_spec import FlowButton
from tests.contract.meta_bench import (
    ACCOUNT,
    BUTTON,
    INTAKE,
    INTERACTIVE,
    NAMES,
    SEND,
    SENDER,
    SETTINGS,
    SPEC,
    TOKEN,
    Bench,
)
from tests.unit.sandbox.meta_playground import MetaPlay

FRESH = SPEC.model_copy(update={"name": "seed_v1"})
"""A template that the sandbox does not have yet."""
FRESH_SEND = SEND.model_copy(update={"template": INTAKE.model_copy(update={"name": "seed_v1"})})


def meta_of(play: MetaPlay, senders: dict[str, str] | None = None) -> tuple[MetaClient, MetaProvisioning]:
    """The real client and set-up of the sandbox's account."""
    http = meta_http(ACCOUNT, f"{play.url}/meta", SecretStr(TOKEN), SETTINGS)
    return MetaClient(ACCOUNT, http, SETTINGS, senders or {"main": SENDER}), MetaProvisioning(ACCOUNT, http, SETTINGS)


@asynccontextmanager
async def client_of(play: MetaPlay, senders: dict[str, str] | None = None) -> AsyncIterator[MetaClient]:
    client, _ = meta_of(play, senders)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def set_up_of(play: MetaPlay) -> AsyncIterator[MetaProvisioning]:
    _, provisioning = meta_of(play)
    try:
        yield provisioning
    finally:
        await provisioning.close()


async def creation(button: FlowButton = BUTTON) -> JsonValue:
    """The body of a creation."""
    bench = Bench()
    await bench.provisioning.create_template(SPEC.model_copy(update={"button": button}))
    [body] = bench.bodies()
    return body


async def template_send() -> JsonValue:
    bench = Bench()
    await bench.client.trigger_flow(SEND, NAMES)
    return bench.bodies()[0]


async def flow_send(**changes: object) -> JsonValue:
    bench = Bench()
    await bench.client.send_interactive_flow(INTERACTIVE.model_copy(update=changes), NAMES)
    return bench.bodies()[0]
