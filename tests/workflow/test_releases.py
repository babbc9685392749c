"""Releases of the workers: which one gets the work, and engagements that go on under the next."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.testing import TimeSkipper, TimeSkippingConfig
from temporalio.worker import Worker, WorkerDeploymentConfig
from typer.testing import CliRunner

from domain.errors import NotAllowed, NotFound
from domain.ids import DEPLOYMENT, ENGAGEMENTS_QUEUE
from domain.outcomes import EngagementOutcome as Outcome
from runtime.codec import AesGcmCodec
from runtime.dev_server import DevServer
from runtime.settings import WorkerSettings
from runtime.temporal import connect, data_converter, plugin
from starter.cli import app
from starter.cli.session import Session
from starter.deployments import DeploymentService
from tests.logged import logging_put_back
from tests.unit.starter.world import service_on
from tests.workflow.conftest import TEST_KEYS
from tests.workflow.scripted import OneAccount, ScriptedProvider
from tests.workflow.stage import Play, Stage, open_stage
from worker import Workers
from workflows import search_attributes

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def apart() -> AsyncIterator[Client]:
    """A server for each test: a release that gets the work takes it from the workers of every other one."""
    async with await DevServer.start(search_attributes=search_attributes.ALL) as server:
        its_plugin = plugin(data_converter(AesGcmCodec(TEST_KEYS)), strict_imports=True)
        yield await connect(its_plugin, address=server.address)


@pytest_asyncio.fixture(loop_scope="module")
async def stage(apart: Client, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage whose lines are polled, by workers without a version, and nobody runs workflows yet."""
    skipper = TimeSkipper(apart, config=TimeSkippingConfig(enabled=False, max_session_skip_count=10_000))
    async with open_stage(skipper, tmp_path, ScriptedProvider(), engagements=False) as opened:
        yield opened


def release(stage: Stage, build_id: str) -> Worker:
    """The engagement workers of one release."""
    client, accounts, settings = stage.skipper.client, OneAccount(stage.provider), WorkerSettings(build_id=build_id)
    return Workers(client, stage.stores, accounts, stage.ats, settings).engagements()


async def known(deployments: DeploymentService, build_id: str) -> None:
    """Come back when Temporal has seen a worker of this release."""
    for _ in range(600):
        try:
            if build_id in [version.build_id for version in await deployments.versions()]:
                return
        except NotFound:  # none of any release yet
            pass
        await asyncio.sleep(0.05)
    raise AssertionError(f"{build_id} never polled")


async def release_of(play: Play) -> str:
    """Under which release the last step of an engagement was decided."""
    info = (await play.handle.describe()).raw_description.workflow_execution_info.versioning_info
    return str(info.deployment_version.build_id)


async def test_an_open_engagement_goes_on_under_the_release_that_is_promoted_next(stage: Stage) -> None:
    deployments = DeploymentService(stage.skipper.client)
    with pytest.raises(NotFound, match="start one with RAPPORT_WORKER__BUILD_ID"):
        await deployments.promote("a1")
    async with release(stage, "a1"):
        await known(deployments, "a1")
        promoted = await deployments.promote("a1")
        assert (promoted.build_id, promoted.before, promoted.changed) == ("a1", "", True)
        assert not (await deployments.promote("a1")).changed, "repeating is harmless"
        old = await stage.play()
        await old.rest()
        assert (len(stage.provider.effects), await release_of(old)) == (1, "a1")
        with pytest.raises(NotFound, match="no worker polls with build id b2"):
            await deployments.promote("b2")
        async with release(stage, "b2"):
            await known(deployments, "b2")
            assert (await deployments.promote("b2")).before == "a1"
            await asyncio.gather(old.finish_run(city="Utrecht"))
            assert (await old.result()).settlement.outcome is Outcome.COMPLETED
            assert await release_of(old) == "b2"
            new = await stage.play(phone="+31687654321")
            await new.rest()
            assert await release_of(new) == "b2"
            current = [version.build_id for version in await deployments.versions() if version.is_current]
            assert current == ["b2"]
            await new.handle.terminate("end of test")


async def test_a_release_that_takes_its_queues_one_by_one_gets_the_work_when_it_has_them_all(stage: Stage) -> None:
    client = stage.skipper.client
    patient, at_once = DeploymentService(client), DeploymentService(client, patience=timedelta(0))
    async with release(stage, "e5"):
        await known(patient, "e5")
        await patient.promote("e5")
        await (await stage.play()).rest()  # Temporal minds only queues in which something happened

        @activity.defn
        async def unasked() -> None: ...

        version = WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id="f6"),
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
        )
        async with Worker(client, task_queue=ENGAGEMENTS_QUEUE, activities=[unasked], deployment_config=version):
            await known(patient, "f6")
            with pytest.raises(NotAllowed, match="f6 cannot get the work yet"):
                await at_once.promote("f6")
        promoting = asyncio.create_task(patient.promote("f6"))
        async with release(stage, "f6"):
            assert (await promoting).before == "e5"


async def test_the_command_promotes_the_release_of_the_settings(stage: Stage) -> None:
    @asynccontextmanager
    async def session() -> AsyncIterator[Session]:
        its_plugin = plugin(data_converter(AesGcmCodec(TEST_KEYS)))
        client = await connect(its_plugin, address=stage.skipper.client.service_client.config.target_host, lazy=True)
        yield Session(
            service_on(stage.stores, client),
            stage.topology,
            deployments=DeploymentService(client),
            build_id="c3",
        )

    def rapport(*words: str) -> tuple[int, str]:
        with logging_put_back():
            result = CliRunner().invoke(app, ["deploy", *words], obj=session)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    async with release(stage, "c3"):
        await known(DeploymentService(stage.skipper.client), "c3")
        code, text = await asyncio.to_thread(rapport, "promote")
        assert (code, "c3 gets the work now" in text) == (0, True), text
        assert "current" in (await asyncio.to_thread(rapport, "status"))[1]
        code, _ = await asyncio.to_thread(rapport, "promote", "d4")
        assert code == 3
