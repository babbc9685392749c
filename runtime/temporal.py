"""The connection to Temporal, and the one plugin that client, worker and replayer share."""

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, ClientConfig
from temporalio.common import HeaderCodecBehavior, SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec
from temporalio.envconfig import ClientConfig as EnvConfig
from temporalio.envconfig import ClientConnectConfig
from temporalio.plugin import SimplePlugin
from temporalio.runtime import Runtime
from temporalio.service import RetryConfig, RPCError, RPCStatusCode
from temporalio.worker import ReplayerConfig, WorkerConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from domain.errors import SetupError
from runtime.payloads import RapportPayloadConverter
from runtime.workflow_sandbox import WorkflowSandbox

PASSED_THROUGH = {
    "tzdata": "the rules of time zones: packages that hold data and no code",
    "domain": "pure values and rules: no clock, no environment, no state that one run could leave to another",
    "workflows.alarm": "a class per run, made by the workflow; nothing at module level but constants",
    "workflows.calls": "typed callers of activities: constants and functions, the state is handed in",
    "workflows.closing": "a class per run, made by the workflow; nothing at module level but constants",
    "workflows.endings": "pure reading of errors",
    "workflows.falling_back": "a class per run, made by the workflow; nothing at module level but constants",
    "workflows.gate_calls": "typed callers of a gate's activities: the gate is handed in",
    "workflows.gate_looking": "a class per run, made by the workflow; nothing at module level but constants",
    "workflows.gate_story": "pure text from state",
    "workflows.gates": "a class per run, made by the workflow; nothing at module level but constants",
    "workflows.holding": "a class per run, made by the workflow; nothing at module level but constants",
    "workflows.listening": "the same",
    "workflows.notices": "a class per run, made by the workflow; nothing at module level but constants",
    "workflows.options": "retry policies and timeouts: constants",
    "workflows.pausing": "a class per run, made by the workflow; nothing at module level but constants",
    "workflows.progress": "a class per run, made by the workflow; nothing at module level but constants",
    "workflows.reconciling": "the same",
    "workflows.search_attributes": "search attribute keys: constants",
    "workflows.sending": "a class per run, made by the workflow; nothing at module level but constants",
    "workflows.steps": "a value",
    "workflows.story": "pure text from state",
    "workflows.windows": "a class per run, made by the workflow; nothing at module level but constants",
}
"""Modules that a workflow run shares with the process in place of loading its own copy, each with the reason.

A copy per run costs 20 times the memory. A module that defines a workflow must not be listed: its copy is what the
sandbox watches for clocks, randomness and input.
"""

DEFAULT_ADDRESS = "localhost:7233"
_ASK = timedelta(seconds=10)


def data_converter(codec: PayloadCodec) -> DataConverter:
    """Pydantic payloads, sealed by ``codec``; messages and stack traces of failures are sealed too."""
    return dataclasses.replace(
        pydantic_data_converter,
        payload_converter_class=RapportPayloadConverter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


class RapportPlugin(SimplePlugin):
    """What a plain plugin gives, and headers sealed like every other payload."""

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Make the client and its workers use converter and codec, headers included."""
        config = super().configure_client(config)
        config["header_codec_behavior"] = HeaderCodecBehavior.CODEC
        return config

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Let a worker walk through the payloads of a task one by one: nothing of ours is fetched from elsewhere."""
        config = super().configure_worker(config)
        config["max_workflow_task_external_storage_concurrency"] = 1
        return config

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Make a replayer read what the client wrote."""
        config = super().configure_replayer(config)
        config["header_codec_behavior"] = HeaderCodecBehavior.CODEC
        return config


def plugin(converter: DataConverter, *, strict_imports: bool = False) -> RapportPlugin:
    """The one plugin. Give it to the client (workers inherit it: never pass it again) and to a replayer.

    ``strict_imports`` (tests and CI) makes building a worker fail when a workflow imports what is not listed above.
    """

    def sandboxed(existing: WorkflowRunner | None) -> WorkflowRunner:
        if not isinstance(existing, SandboxedWorkflowRunner):
            raise SetupError("workflows run in the sandbox only: leave workflow_runner alone")
        restrictions = existing.restrictions.with_passthrough_modules(*PASSED_THROUGH)
        if strict_imports:
            policy = workflow.SandboxImportNotificationPolicy
            restrictions = restrictions.with_import_notification_policy(
                policy.WARN_ON_DYNAMIC_IMPORT | policy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH
            )
        return WorkflowSandbox(restrictions, existing.runner_class)

    return RapportPlugin("rapport", data_converter=converter, workflow_runner=sandboxed)


async def connect(
    plugin: RapportPlugin,
    *,
    address: str | None = None,
    namespace: str | None = None,
    lazy: bool = False,
    runtime: Runtime | None = None,
    identity: str | None = None,
) -> Client:
    """Connect to Temporal as the ``TEMPORAL_*`` variables and ``temporal.toml`` say (strictly read).

    An explicit ``address`` (a dev server of ours) reads neither. A ``lazy`` client (gateway) connects at its first
    call, and a call then waits about a second for a server that is down; workers need an eager one.

    Raises ``SetupError`` for a wrong configuration and, when not lazy, for a server or a namespace that is not there.
    """
    config = ClientConnectConfig(target_host=address) if address else _from_environment()
    if namespace:
        config["namespace"] = namespace
    target = config.setdefault("target_host", DEFAULT_ADDRESS)
    try:
        client = await Client.connect(
            **config,
            plugins=[plugin],
            lazy=lazy,
            runtime=runtime,
            identity=identity,
            retry_config=RetryConfig(max_elapsed_time_millis=1_000) if lazy else None,
        )
        if not lazy:
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=client.namespace), timeout=_ASK
            )
    except RPCError as error:
        raise SetupError(_refusal(error, target, config.get("namespace", "default"))) from error
    except RuntimeError as error:  # what the SDK raises when nothing listens
        raise SetupError(_unreachable(target)) from error
    return client


def _from_environment() -> ClientConnectConfig:
    try:
        return EnvConfig.load_client_connect_config(config_file_strict=True)
    except (RuntimeError, OSError) as error:  # ConfigError is a RuntimeError; a missing certificate file is an OSError
        raise SetupError(
            f"the Temporal connection settings are wrong: {error}. "
            "Check the TEMPORAL_* variables and temporal.toml (TEMPORAL_CONFIG_FILE, TEMPORAL_PROFILE)"
        ) from error


def _unreachable(target: str) -> str:
    return (
        f"no Temporal server answers at {target}: start one (make temporal) or name another in TEMPORAL_ADDRESS; "
        "for a server that asks for TLS or an API key see TEMPORAL_TLS and TEMPORAL_API_KEY"
    )


def _refusal(error: RPCError, target: str, namespace: str) -> str:
    match error.status:
        case RPCStatusCode.NOT_FOUND:
            return (
                f"Temporal at {target} has no namespace {namespace}: create it "
                f"(temporal operator namespace create -n {namespace}) or set TEMPORAL_NAMESPACE"
            )
        case RPCStatusCode.UNAUTHENTICATED | RPCStatusCode.PERMISSION_DENIED:
            return f"Temporal at {target} refused us: check TEMPORAL_API_KEY or the TEMPORAL_TLS_CLIENT_* certificates"
        case _:
            return _unreachable(target)


async def ensure_search_attributes(client: Client, keys: Sequence[SearchAttributeKey[Any]]) -> None:
    """Register in the client's namespace whatever of ``keys`` it lacks; repeating is harmless.

    ``Any``: keys of text, instants and numbers stand in one list.
    Raises ``SetupError`` when a name has another type there, and when we may not register.
    """
    try:
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), timeout=_ASK
        )
        present = {**listed.system_attributes, **listed.custom_attributes}
        wrong = [
            f"{key.name} is not a {type_name(key)} there"
            for key in keys
            if key.name in present and present[key.name] != int(key.indexed_value_type)
        ]
        if wrong:
            raise SetupError(f"search attributes of namespace {client.namespace} do not fit: {'; '.join(wrong)}")
        missing = {
            key.name: IndexedValueType.ValueType(int(key.indexed_value_type)) for key in keys if key.name not in present
        }
        if missing:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing), timeout=_ASK
            )
    except RPCError as error:
        if error.status == RPCStatusCode.ALREADY_EXISTS:  # another process of ours was first
            return
        by_hand = " ".join(f"--name {key.name} --type {type_name(key)}" for key in keys)
        raise SetupError(
            f"search attributes of namespace {client.namespace} cannot be registered ({error.status.name}): "
            f"let an operator run: temporal operator search-attribute create -n {client.namespace} {by_hand}"
        ) from error


def type_name(key: SearchAttributeKey[Any]) -> str:
    """The type as Temporal's command line spells it: ``Keyword``, ``KeywordList``, ``Datetime`` …"""
    return "".join(part.capitalize() for part in key.indexed_value_type.name.split("_"))
