"""The command ``doctor``: every part of the set-up, one line each, with what to do where something is wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import typer
from rich.text import Text
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from domain import ids
from domain.errors import ProviderRejected, ProviderUnavailable, RapportError, Scope, SetupError
from domain.model import Model
from domain.plans import TemplateRef
from domain.ports import MessagingProvider
from domain.topology import Account, Topology
from providers.registry import build_accounts
from runtime.codec import AesGcmCodec
from runtime.logging import configure_logging
from runtime.processes import key_ring
from runtime.secrets import references, resolve
from runtime.settings import LogLevel, Settings, load_settings
from runtime.temporal import connect, data_converter, plugin, type_name
from runtime.topology import load_topology
from starter.cli import output
from starter.cli.errors import ExitCode
from starter.cli.output import Json
from store.database import Database
from store.migrate import is_current_within
from workflows import search_attributes

_ASK = timedelta(seconds=5)
_PROBE = TemplateRef(name="rapport_doctor", language="en", id="rapport-doctor")
"""A template that nobody has: reading it is harmless, and a provider that answers has accepted the credential."""


class Level(StrEnum):
    """How a part stands. A warning does not keep Rapport from running."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Model):
    """One line: which part, how it stands, and what to do."""

    part: str
    level: Level
    text: str


def doctor(*, as_json: Json = False) -> None:
    """Check settings, topology, secrets, store, Temporal and credentials; exit 1 when something must be put right."""
    findings = asyncio.run(_examine())
    if as_json:
        output.print_json(findings)
    else:
        styles = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
        for finding in findings:
            first, *rest = finding.text.splitlines() or [""]
            line = Text.assemble((f"{finding.level.value:<5}", styles[finding.level]), f"{finding.part}: {first}")
            output.screen().print(line, soft_wrap=True)
            for more in rest:
                output.screen().print(Text(f"     {more}"), soft_wrap=True)
    if any(finding.level is Level.FAIL for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


async def _examine() -> list[Finding]:
    try:
        settings = load_settings()
    except SetupError as error:
        return [_fail("settings", str(error))]
    configure_logging(settings.log.format, LogLevel.ERROR)
    findings = [_ok("settings", "read from the environment")]
    topology = _topology(settings, findings)
    if topology is not None:
        findings += _secrets(topology)
    findings += _keys(settings)
    findings += await _store(settings)
    findings += await _temporal(settings)
    if topology is not None:
        findings += await _credentials(topology)
    return findings


def _topology(settings: Settings, findings: list[Finding]) -> Topology | None:
    try:
        topology = load_topology(settings.topology_path())
    except RapportError as error:
        findings.append(_fail("topology", str(error)))
        return None
    counts = f"{len(topology.tenants)} tenants, {len(topology.accounts)} accounts, {len(topology.lines)} lines"
    findings.append(_ok("topology", counts))
    if not topology.tokens:
        findings.append(_warn("tokens", "none: nobody can use the REST interface; name them under tokens:"))
    return topology


def _secrets(topology: Topology) -> list[Finding]:
    wrong = []
    for ref in references(topology):
        try:
            resolve(ref)
        except SetupError as error:
            wrong.append(_fail("secret", str(error)))
    return wrong or [_ok("secrets", "every one that the topology names can be read")]


def _keys(settings: Settings) -> list[Finding]:
    if settings.keys.master is None and settings.keys.pepper is None and settings.is_single_machine:
        where = settings.state_dir
        text = f"made for development in {where}; keep a copy, or set RAPPORT_KEYS__MASTER and RAPPORT_KEYS__PEPPER"
        return [_warn("keys", text)]
    try:
        key_ring(settings)
    except SetupError as error:
        return [_fail("keys", str(error))]
    return [_ok("keys", "given")]


async def _store(settings: Settings) -> list[Finding]:
    url = settings.store_url.get_secret_value()
    if settings.is_single_machine and not _sqlite_file_exists(url):
        return [_warn("store", "there is no file yet: rapport migrate makes it, and so does the first process")]
    try:
        database = await Database.open(url)
    except RapportError as error:
        return [_fail("store", str(error))]
    try:
        if not await database.read(is_current_within):
            return [_fail("store", "its schema is not that of this release: run rapport migrate")]
    except RapportError as error:
        return [_fail("store", str(error))]
    finally:
        await database.close()
    return [_ok("store", "answers, and has the schema of this release")]


async def _temporal(settings: Settings) -> list[Finding]:
    try:
        # it reads and writes no payload, so it needs no data keys and no store
        client = await connect(plugin(data_converter(AesGcmCodec(key_ring(settings)))))
    except SetupError as error:
        return [_fail("temporal", str(error))]
    findings = [_ok("temporal", f"answers; namespace {client.namespace}")]
    checks: Sequence[tuple[str, Callable[[Client], Awaitable[Finding]]]] = (
        ("search attributes", _attributes),
        ("worker", _worker),
    )
    for part, check in checks:
        try:
            findings.append(await check(client))
        except RPCError as error:
            findings.append(_warn(part, f"Temporal did not say ({error.status.name.lower()})"))
    return findings


async def _attributes(client: Client) -> Finding:
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=_ASK
    )
    present = listed.custom_attributes
    missing = [key for key in search_attributes.ALL if key.name not in present]
    if missing:
        names = " ".join(f"--name {key.name} --type {type_name(key)}" for key in missing)
        command = f"temporal operator search-attribute create -n {client.namespace} {names}"
        return _fail("search attributes", f"missing; register them:\n{command}")
    wrong = [key.name for key in search_attributes.ALL if present[key.name] != int(key.indexed_value_type)]
    if wrong:
        return _fail("search attributes", f"of another type than we need: {', '.join(wrong)}")
    return _ok("search attributes", f"all {len(search_attributes.ALL)} are there")


async def _worker(client: Client) -> Finding:
    queue = ids.ENGAGEMENTS_QUEUE
    described = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        ),
        timeout=_ASK,
    )
    if not described.pollers:
        return _warn("worker", "none polls for engagements: start one with rapport worker")
    return _ok("worker", f"{len(described.pollers)} poll for engagements")


async def _credentials(topology: Topology) -> list[Finding]:
    findings = []
    for account in topology.accounts:
        part = f"account {account.slug}"
        try:
            async with _client(topology, account) as provider:
                await provider.read_template(_PROBE, None)
        except ProviderUnavailable as error:
            findings.append(_warn(part, f"{account.provider} did not answer: {error}"))
        except ProviderRejected as error:
            if error.scope is Scope.ACCOUNT:
                findings.append(_fail(part, f"{account.provider} refuses the credential: {error}"))
            else:
                findings.append(_ok(part, f"{account.provider} accepts the credential"))
        except SetupError as error:
            findings.append(_fail(part, str(error)))
        else:
            findings.append(_ok(part, f"{account.provider} accepts the credential"))
    return findings


@asynccontextmanager
async def _client(topology: Topology, account: Account) -> AsyncIterator[MessagingProvider]:
    """One account's client alone, so that another account's mistakes do not hide this one's."""
    lines = topology.lines_of(account.slug)
    accounts = build_accounts(topology.model_copy(update={"accounts": (account,), "lines": lines}), resolve)
    try:
        yield accounts.provider(account.slug)
    finally:
        await accounts.close()


def _sqlite_file_exists(url: str) -> bool:
    return Path(url.removeprefix("sqlite:///").partition("?")[0]).exists()


def _ok(part: str, text: str) -> Finding:
    return Finding(part=part, level=Level.OK, text=text)


def _warn(part: str, text: str) -> Finding:
    return Finding(part=part, level=Level.WARN, text=text)


def _fail(part: str, text: str) -> Finding:
    return Finding(part=part, level=Level.FAIL, text=text)
