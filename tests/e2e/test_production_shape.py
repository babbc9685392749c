"""The deployment runs: our services with the commands and variables of docker-compose.yml, on a real PostgreSQL and a
real Temporal server that its own scripts have set up. Only the containers are missing.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from domain.ids import ENGAGEMENTS_QUEUE, engagement_workflow_id, lookups_queue, sends_queue
from domain.model import JsonValue
from tests.e2e.postgres_by_tcp import PostgresMissing
from tests.e2e.production_shape import DEPLOY, ROOT, NotTranslated, ProductionShape, production_shape
from tests.processes import ProcessFailed, bare_environment, completed, eventually, free_ports
from tests.temporal_cluster import TemporalMissing, temporal_binaries

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

SERVICES = ("sandbox", "gateway", "worker", "codec-server")
TENANT, LINE, ACCOUNT = "demo", "recruiting", "recrubo-sandbox"


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionShape]:
    with ExitStack() as stack:
        try:
            ground = stack.enter_context(production_shape(tmp_path_factory.mktemp("production")))
        except (PostgresMissing, TemporalMissing) as missing:
            pytest.skip(str(missing))
        yield ground


@pytest.fixture(scope="module")
def migrated(shape: ProductionShape) -> ProductionShape:
    """The store has the schema of this release."""
    shape.run("migrate")
    return shape


@pytest.fixture(scope="module")
def services(migrated: ProductionShape) -> Iterator[ProductionShape]:
    """Every long-running service of ours, up and healthy by its own health check."""
    with ExitStack() as stack:
        launched = [stack.enter_context(migrated.launched(service)) for service in SERVICES]
        for process in launched:
            migrated.wait_until_healthy(process)
        yield migrated


def test_a_second_start_finds_everything_set_up(shape: ProductionShape) -> None:
    binaries = bare_environment(*temporal_binaries().path)
    server = shape.places.ports
    schema = binaries | {
        "SQL_HOST": "127.0.0.1",
        "SQL_PORT": str(server["5432"]),
        "SQL_USER": "temporal",
        "SQL_PASSWORD_FILE": str(shape.secrets / "temporal_db_password"),
    }
    completed("temporal-schema", [DEPLOY / "temporal-schema.sh"], schema)
    namespace = binaries | {"TEMPORAL_ADDRESS": shape.temporal.address, "TEMPORAL_NAMESPACE": "rapport"}
    said = completed("temporal-namespace", [DEPLOY / "temporal-namespace.sh"], namespace)
    assert said == "Namespace rapport is ready.\n"


def test_migrating_again_changes_nothing(migrated: ProductionShape) -> None:
    def tables() -> list[tuple[str, ...]]:
        with psycopg.connect(migrated.database_url("rapport")) as connection:
            return connection.execute(
                "SELECT relname, xmin::text FROM pg_class WHERE relkind = 'r' ORDER BY 1"
            ).fetchall()

    before = tables()
    migrated.run("migrate")
    assert len(before) > 80, "there are only PostgreSQL's own tables"
    assert tables() == before


def test_the_server_checks_the_dynamic_configuration(shape: ProductionShape) -> None:
    server = temporal_binaries().server
    completed("temporal-server", [server, "validate-dynamic-config", DEPLOY / "dynamicconfig.yaml"], bare_environment())


def test_the_server_has_the_shards_that_the_compose_file_says(shape: ProductionShape) -> None:
    with psycopg.connect(shape.database_url("temporal")) as connection:
        (shards,) = connection.execute("SELECT count(*) FROM shards").fetchone() or (0,)
    assert str(shards) == shape.compose.services["temporal"].environment["NUM_HISTORY_SHARDS"]


def test_the_roles_of_temporal_and_rapport_cannot_read_each_other(shape: ProductionShape) -> None:
    port = shape.places.ports["5432"]
    ours = f"postgresql://rapport:{shape.secret('rapport_db_password')}@127.0.0.1:{port}"
    theirs = f"postgresql://temporal:{shape.secret('temporal_db_password')}@127.0.0.1:{port}"
    with psycopg.connect(f"{ours}/rapport") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(f"{theirs}/rapport")
    with psycopg.connect(f"{ours}/temporal") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM executions")


def test_a_variable_that_nobody_thought_about_is_not_run_past(shape: ProductionShape) -> None:
    worker = shape.compose.services["worker"]
    strange = worker.model_copy(update={"environment": {**worker.environment, "RAPPORT_WORKER__SPEED": "9"}})
    with pytest.raises(NotTranslated, match="RAPPORT_WORKER__SPEED"):
        shape.places.environment(strange)


def test_a_misspelt_variable_stops_a_service_before_it_does_anything(shape: ProductionShape, tmp_path: Path) -> None:
    (metrics,) = free_ports(1)
    beside = shape.elsewhere(tmp_path, {"9464": metrics})
    with (
        pytest.raises(ProcessFailed, match="RAPPORT_WORKER__GRACEFUL_SHUTDOWM"),
        beside.serving("worker", {"RAPPORT_WORKER__GRACEFUL_SHUTDOWM": "25s"}),
    ):
        pytest.fail("the worker started in spite of a setting that does not exist")


def test_every_service_passes_its_own_health_check(services: ProductionShape) -> None:
    for service in SERVICES:
        assert services.is_healthy(service), service


async def test_the_worker_polls_every_queue_of_its_topology(services: ProductionShape) -> None:
    client = await Client.connect(services.temporal.address, namespace=services.temporal.namespace)
    workflow, activity = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    queues = [(ENGAGEMENTS_QUEUE, workflow), (ENGAGEMENTS_QUEUE, activity), (sends_queue(LINE), activity),
              (lookups_queue(ACCOUNT), activity)]  # fmt: skip
    for name, kind in queues:
        request = DescribeTaskQueueRequest(
            namespace=services.temporal.namespace, task_queue=TaskQueue(name=name), task_queue_type=kind
        )
        described = await client.workflow_service.describe_task_queue(request)
        assert described.pollers, name


async def test_everything_that_prometheus_asks_answers(services: ProductionShape) -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    asked = {job["job_name"]: str(job["dns_sd_configs"][0]["port"]) for job in jobs if "dns_sd_configs" in job}
    addresses = {name: services.url(port, "/metrics") for name, port in asked.items()}
    addresses["temporal"] = f"http://{services.temporal.metrics}/metrics"
    async with httpx.AsyncClient() as http:
        for name, address in addresses.items():
            answer = await http.get(address)
            assert answer.status_code == 200, name
            assert "# TYPE" in answer.text, name


async def test_the_codec_server_shows_nothing_without_a_token(services: ProductionShape) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(services.url("8082", "/decode"), json={"payloads": []})
    assert answer.status_code == 401


def test_an_engagement_started_by_rest_completes_once_and_the_ats_hears_it(ended: ProductionShape) -> None:
    """``ended`` saw it complete; here is who else must know."""
    with httpx.Client(timeout=30) as http:
        heard = eventually(lambda: _ats_deliveries(http, ended), "the ATS hears the outcome")
    (delivery,) = [one for one in heard if REFERENCE in json.dumps(one)]
    assert "COMPLETED" in json.dumps(delivery)


def test_what_temporal_keeps_of_a_candidate_is_readable_through_the_codec_server_only(ended: ProductionShape) -> None:
    sealed = _history(ended)
    assert "candidate-engagement" in sealed
    assert PHONE not in sealed
    token = ended.secret("codec_token")
    opened = _history(ended, "--codec-endpoint", ended.url("8082", ""), "--codec-auth", f"Bearer {token}")
    assert PHONE in opened


def test_nothing_of_a_candidate_is_in_the_logs(ended: ProductionShape) -> None:
    for service in ("gateway", "worker", "codec-server"):
        log = (ended.directory / f"{service}.log").read_text()
        assert log, service
        for personal in (PHONE, FIRST_NAME, ended.secret("accounts/recrubo_token"), ended.secret("master_key")):
            assert personal not in log, service


def test_the_commands_of_the_page_on_deploying_answer(ended: ProductionShape) -> None:
    commands = re.findall(r"docker compose exec gateway rapport ([^`\n]+)", DOCUMENTED)
    assert {command.split()[0] for command in commands} == {"doctor", "show", "trace"}
    for command in commands:
        said = completed(command, [*ended.entry_point, *command.split()], ended.environment("gateway"))
        assert PHONE not in said
        assert command.startswith("doctor") or "COMPLETED" in said, said


def test_a_worker_that_is_told_to_stop_ends_in_order(services: ProductionShape, tmp_path: Path) -> None:
    (metrics,) = free_ports(1)
    beside = services.elsewhere(tmp_path, {"9464": metrics})
    with beside.serving("worker") as second:
        second.wait_until(lambda: "worker_ready" in second.output(), "it says that it is ready", 60)
    assert second.child.returncode == 0, second.output()
    assert "worker_stopping" in second.output()


@pytest.fixture(scope="module")
def ended(services: ProductionShape) -> ProductionShape:
    """An engagement was started by REST, twice with the same reference, and has completed."""
    token = services.secret("accounts/rest_token")
    with httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=30) as http:
        first = http.post(services.url("8081", "/v1/engagements"), json=ENGAGEMENT)
        assert first.status_code == 202, first.text
        again = http.post(services.url("8081", "/v1/engagements"), json=ENGAGEMENT)
        assert again.status_code == 200, again.text
        address = services.url("8081", f"/v1/engagements/{REFERENCE}")
        view = eventually(lambda: _view_with_outcome(http, address), "the engagement has an outcome")
    assert view["outcome"] == "COMPLETED", view
    return services


def _view_with_outcome(http: httpx.Client, address: str) -> dict[str, JsonValue]:
    answer = http.get(address)
    assert answer.status_code == 200, answer.text
    summary: dict[str, JsonValue] = answer.json()["summary"]
    return summary if summary.get("outcome") else {}


def _ats_deliveries(http: httpx.Client, shape: ProductionShape) -> list[JsonValue]:
    answer = http.get(shape.url("8090", "/control/ats"), params={"tenant": TENANT})
    assert answer.status_code == 200, answer.text
    deliveries: list[JsonValue] = answer.json()["deliveries"]
    return deliveries


def _history(shape: ProductionShape, *options: str) -> str:
    """The history as the command line tells it, with what its payloads hold."""
    environment = bare_environment(*temporal_binaries().path) | {"TEMPORAL_ADDRESS": shape.temporal.address}
    command = ["temporal", "workflow", "show", "--namespace", shape.temporal.namespace, "--output", "json"]
    workflow_id = engagement_workflow_id(TENANT, REFERENCE)
    history = completed("temporal", [*command, "--workflow-id", workflow_id, *options], environment)
    payloads = re.findall(r'"data": "([^"]+)"', history)
    assert payloads
    return "\n".join([history, *(base64.b64decode(data).decode(errors="replace") for data in payloads)])


DOCUMENTED = (ROOT / "docs" / "deploying.md").read_text()
PHONE, FIRST_NAME = "+31612345610", "Adalheidis"


def _documented_engagement() -> dict[str, JsonValue]:
    """What the page on deploying posts; only the name differs, to be found where it must not be."""
    found = re.search(r"-d '(\{.*?\})'", DOCUMENTED, re.DOTALL)
    assert found is not None
    body: dict[str, JsonValue] = json.loads(found[1].replace('"Ada"', f'"{FIRST_NAME}"'))
    assert PHONE in found[1]
    return body


ENGAGEMENT = _documented_engagement()
REFERENCE = str(ENGAGEMENT["reference"])
