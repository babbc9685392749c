"""Connecting: by the standard settings, with refusals that say what to do."""

import ast
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, Interceptor, OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.common import HeaderCodecBehavior, SearchAttributeKey
from temporalio.converter import DataConverter
from temporalio.worker import Replayer, Worker

import workflows
from domain.errors import SetupError
from runtime.codec import ENCODING, AesGcmCodec
from runtime.dev_server import DevServer
from runtime.temporal import PASSED_THROUGH, connect, type_name
from tests.unit.runtime.conftest import KEYS, sealing_plugin
from tests.unit.runtime.tiny_activities import tiny_activity, tiny_failure
from tests.unit.runtime.tiny_workflow import QUEUE, TinyWorkflow
from workflows.search_attributes import ALL

NOBODY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def no_profile_of_the_developer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporal.toml").write_text("")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "temporal.toml"))


async def test_a_server_that_is_not_there_is_told_with_a_way_out() -> None:
    with pytest.raises(SetupError, match=f"no Temporal server answers at {NOBODY}.*TEMPORAL_ADDRESS"):
        await connect(sealing_plugin(), address=NOBODY)


async def test_a_lazy_client_is_made_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOBODY)

    client = await connect(sealing_plugin(), lazy=True)

    assert client.service_client.config.target_host == NOBODY


async def test_a_profile_that_does_not_exist_is_a_setup_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_PROFILE", "nowhere")

    with pytest.raises(SetupError, match="TEMPORAL_PROFILE"):
        await connect(sealing_plugin())


async def test_a_misspelt_profile_is_a_setup_error(tmp_path: Path) -> None:
    (tmp_path / "temporal.toml").write_text('[profile.default]\nadress = "x:1"\n')

    with pytest.raises(SetupError, match=r"temporal\.toml"):
        await connect(sealing_plugin())


async def test_a_profile_names_the_server(tmp_path: Path) -> None:
    (tmp_path / "temporal.toml").write_text(f'[profile.default]\naddress = "{NOBODY}"\nnamespace = "hiring"\n')

    client = await connect(sealing_plugin(), lazy=True)

    assert client.service_client.config.target_host == NOBODY
    assert client.namespace == "hiring"


async def test_a_missing_certificate_file_is_a_setup_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_CERT_PATH", str(tmp_path / "none.pem"))

    with pytest.raises(SetupError, match="TEMPORAL_"):
        await connect(sealing_plugin())


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_a_namespace_that_is_not_there_is_told_with_the_command_that_makes_it(server: DevServer) -> None:
    with pytest.raises(SetupError, match="namespace create -n nowhere"):
        await connect(sealing_plugin(), address=server.address, namespace="nowhere")


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_an_address_that_is_given_is_not_bent_by_the_environment(
    server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOBODY)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "elsewhere")
    monkeypatch.setenv("TEMPORAL_API_KEY", "would turn TLS on")

    client = await connect(sealing_plugin(), address=server.address)

    assert client.namespace == "default"


class _Sending(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002 - the SDK's name
        (header,) = await DataConverter.default.encode(["in-a-header"])
        input.headers = {"trace": header}
        return await super().start_workflow(input)


class _Interceptor(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - the SDK's name
        return _Sending(next)


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_headers_are_sealed_too(server: DevServer) -> None:
    client = await Client.connect(server.address, plugins=[sealing_plugin()], interceptors=[_Interceptor()])

    handle = await client.start_workflow(TinyWorkflow.run, "word", id="headed", task_queue="nobody")

    first = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
    sealed = first.header.fields["trace"]
    assert sealed.metadata["encoding"] == ENCODING
    (opened,) = await AesGcmCodec(KEYS).decode([sealed])
    assert opened.data == b'"in-a-header"'


def test_a_replayer_opens_headers() -> None:
    replayer = Replayer(workflows=[TinyWorkflow], plugins=[sealing_plugin()])

    assert replayer.config(active_config=True)["header_codec_behavior"] is HeaderCodecBehavior.CODEC


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_a_worker_of_our_workflows_imports_nothing_that_is_not_listed(client: Client) -> None:
    from workflows.engagement import EngagementWorkflow  # noqa: PLC0415 - a broken workflow breaks only this test

    Worker(client, task_queue="engagements", workflows=[EngagementWorkflow])
    Worker(client, task_queue=QUEUE, workflows=[TinyWorkflow], activities=[tiny_activity, tiny_failure])


def defines_a_workflow(path: Path) -> bool:
    return any(
        "workflow.defn" in ast.unparse(decorator)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
    )


def test_every_module_beside_the_workflows_is_listed_and_no_workflow_is() -> None:
    folder = Path(str(workflows.__file__)).parent
    found = {path.stem: defines_a_workflow(path) for path in folder.glob("*.py") if path.stem != "__init__"}
    listed = {name.removeprefix("workflows.") for name in PASSED_THROUGH if name.startswith("workflows.")}

    assert listed == {name for name, is_workflow in found.items() if not is_workflow}
    assert all(PASSED_THROUGH.values())


def test_types_are_spelt_as_the_command_line_wants_them() -> None:
    assert type_name(SearchAttributeKey.for_keyword_list("X")) == "KeywordList"
    assert {type_name(key) for key in ALL} <= {"Text", "Keyword", "Int", "Double", "Bool", "Datetime", "KeywordList"}
