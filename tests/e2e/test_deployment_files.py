"""What can be told of the deployment's files by reading them: these tests need nothing but the checkout."""

import re
import subprocess
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from domain.model import parse_duration
from runtime.settings import Settings, variable_names
from runtime.temporal import type_name
from tests.e2e.compose_file import ComposeFile, Service, read_compose_file, read_dockerfile
from workflows import search_attributes

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

_TOKENS = ("codec_token", "accounts/rest_token")
SHORTEST_TOKEN = 16
"""Characters, as ``starter.tokens`` wants them."""

OTHERS_VARIABLES = {"PGSERVICEFILE", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"}
"""What our processes read besides their own settings: libpq's and the Temporal SDK's."""


@pytest.fixture(scope="module")
def compose() -> ComposeFile:
    return read_compose_file(ROOT / "docker-compose.yml")


@pytest.fixture(scope="module")
def ours(compose: ComposeFile) -> dict[str, Service]:
    return {name: service for name, service in compose.services.items() if service.is_ours}


def test_every_process_has_its_service(ours: dict[str, Service]) -> None:
    assert {name: service.command[0] for name, service in ours.items()} == {
        name: name for name in ("migrate", "gateway", "worker", "codec-server", "sandbox")
    }


def test_every_variable_of_our_services_is_a_setting(ours: dict[str, Service]) -> None:
    known = set(variable_names()) | OTHERS_VARIABLES
    unknown = [f"{name}: {key}" for name, service in ours.items() for key in service.environment if key not in known]
    assert unknown == []


def test_a_misspelt_key_or_name_in_the_compose_file_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for right, wrong in (
        ("stop_grace_period: 40s", "stop_grace: 40s"),
        ("migrate: { condition", "migrations: { condition"),
        ("secrets: [store_service,", "secrets: [stores_service,"),
        ("${RAPPORT_LOG_LEVEL:-info}", "$RAPPORT_LOG_LEVEL"),
    ):
        assert right in text
        broken = tmp_path / "broken.yml"
        broken.write_text(text.replace(right, wrong, 1))
        with pytest.raises(ValueError, match=r"stop_grace|migrations|stores_service|RAPPORT_LOG_LEVEL"):
            read_compose_file(broken)


def test_the_example_environment_holds_every_variable_with_its_default() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / "docker-compose.yml").read_text()))
    lines = (DEPLOY / "env.example").read_text().splitlines()
    assert dict(line.split("=", 1) for line in lines if line and not line.startswith("#")) == used


def test_the_server_image_is_the_release_that_the_tests_run(compose: ComposeFile) -> None:
    found = re.search(r"go\.temporal\.io/server v(\S+)", (ROOT / "tools/temporal/go.mod").read_text())
    assert found is not None
    for name in ("temporal", "temporal-schema", "temporal-namespace"):
        assert compose.services[name].image.endswith(f":{found[1]}")


def test_every_image_is_pinned(compose: ComposeFile) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    images = [service.image for service in compose.services.values()]
    images += re.findall(r"^FROM (\S+:\S+)", dockerfile.replace("${PYTHON}", _python_tag(dockerfile)), re.MULTILINE)
    assert len(images) > len(compose.services)
    for image in images:
        _, _, tag = image.rpartition(":")
        assert re.match(r"v?\d+\.\d+", tag), f"{image} has no version that stays what it is"


def _python_tag(dockerfile: str) -> str:
    found = re.search(r"^ARG PYTHON=(\S+)$", dockerfile, re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_compose_file_holds_no_secret(compose: ComposeFile) -> None:
    for name, service in compose.services.items():
        for key, value in service.environment.items():
            if re.search(r"PASSWORD|PWD|SECRET|TOKEN|KEYS__|API_KEY", key):
                assert value.startswith(("/run/secrets/", "file:/run/secrets/")), f"{name}: {key} holds a value"
            assert not re.search(r"://[^/@\s]*:[^/@\s]*@", value), f"{name}: {key} holds a password in a URL"
    for secret in compose.secrets.values():
        assert _is_ignored(ROOT / secret.file), f"{secret.file} could be committed"
    for example in (DEPLOY / "env.example", DEPLOY / "rapport.example.yaml"):
        assert not re.search(
            r"(?i)(password|secret|token|credential)\S*[:=] *(?!file:|env:|\[|\S*/)\S", example.read_text()
        )


def _is_ignored(path: Path) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", str(path)], cwd=ROOT, check=False).returncode == 0


def test_everything_that_is_mounted_is_in_the_checkout_or_is_a_secret(compose: ComposeFile) -> None:
    for name, service in compose.services.items():
        for volume in service.volumes:
            source, _, rest = volume.partition(":")
            if not source.startswith("."):
                continue
            assert rest.endswith(":ro"), f"{name}: {volume} can be written"
            assert (ROOT / source).exists() or _is_ignored(ROOT / source), f"{name}: {source} does not exist"


def test_ports_are_published_on_loopback_only_and_not_for_temporal_or_postgresql(compose: ComposeFile) -> None:
    published = {name: service.ports for name, service in compose.services.items() if service.ports}
    assert set(published) == {"gateway", "codec-server", "ui", "prometheus", "sandbox"}
    for name, ports in published.items():
        assert all(port.startswith("127.0.0.1:") for port in ports)
        assert any(not compose.networks[network].internal for network in compose.services[name].networks)
    host_ports = [port.split(":")[1] for ports in published.values() for port in ports]
    assert len(host_ports) == len(set(host_ports))


def test_databases_and_temporal_cannot_reach_the_internet(compose: ComposeFile) -> None:
    for name in ("postgres", "temporal", "temporal-schema", "temporal-namespace", "migrate"):
        assert set(compose.services[name].networks) == {"internal"}
    assert compose.networks["internal"].internal


def test_our_containers_can_do_little(ours: dict[str, Service]) -> None:
    for service in ours.values():
        assert service.read_only
        assert service.cap_drop == ("ALL",)
        assert service.security_opt == ("no-new-privileges:true",)


def test_a_container_is_given_longer_than_its_process_needs_to_end(ours: dict[str, Service]) -> None:
    worker = ours["worker"]
    graceful = parse_duration(worker.environment["RAPPORT_WORKER__GRACEFUL_SHUTDOWN"])
    assert isinstance(graceful, timedelta)
    assert graceful >= Settings.model_fields["worker"].default.graceful_shutdown
    assert worker.stop_grace_period >= graceful + timedelta(seconds=10)


def test_our_long_running_services_have_a_health_check_and_wait_for_the_schema(ours: dict[str, Service]) -> None:
    for name, service in ours.items():
        if name == "migrate":
            assert service.restart == "on-failure"
            continue
        assert service.healthcheck is not None
        assert name == "sandbox" or service.depends_on["migrate"].condition == "service_completed_successfully"


def test_what_reads_sealed_things_has_keys_store_and_configuration(ours: dict[str, Service]) -> None:
    for name in ("gateway", "worker", "codec-server"):
        service = ours[name]
        for key in (
            "RAPPORT_CONFIG",
            "RAPPORT_STORE__URL",
            "PGSERVICEFILE",
            "RAPPORT_KEYS__MASTER",
            "RAPPORT_KEYS__PEPPER",
        ):
            assert key in service.environment, f"{name} lacks {key}"
        mounted = {volume.split(":")[1] for volume in service.volumes}
        assert {service.environment["RAPPORT_CONFIG"], "/run/accounts"} <= mounted, f"{name}: its tokens are there"
        named = re.findall(r"/run/secrets/(\w+)", " ".join([*service.environment.values(), *service.command]))
        assert set(named) == set(service.secrets), f"{name}: what it names and what it is given"
        assert "internal" in service.networks, f"{name} cannot reach the store"


def test_temporal_ui_asks_the_codec_server_where_it_is_published(compose: ComposeFile) -> None:
    ui, codec = compose.services["ui"], compose.services["codec-server"]
    assert [f"http://{port.rpartition(':')[0]}" for port in codec.ports] == [ui.environment["TEMPORAL_CODEC_ENDPOINT"]]
    assert [f"http://{port.rpartition(':')[0]}" for port in ui.ports] == [codec.environment["RAPPORT_CODEC__UI_ORIGIN"]]


def test_services_listen_where_the_compose_file_looks_for_them(ours: dict[str, Service]) -> None:
    for name, service in ours.items():
        listening = {
            value.rpartition(":")[2] for key, value in service.environment.items() if key.endswith(("PORT", "BIND"))
        }
        listening |= {
            after for flag, after in zip(service.command, service.command[1:], strict=False) if flag == "--port"
        }
        assert {port.rpartition(":")[2] for port in service.ports} <= listening
        if service.healthcheck is not None:
            asked = re.findall(r"127\.0\.0\.1(?::|', )(\d+)", " ".join(service.healthcheck.test))
            assert len(asked) == 1, f"{name}: {service.healthcheck.test}"
            assert asked[0] in listening


def test_prometheus_asks_services_that_exist_at_ports_that_they_open(compose: ComposeFile) -> None:
    targets = _prometheus_targets()
    assert {host for host, _ in targets} == {"worker", "gateway", "temporal"}
    for host, port in targets:
        environment = compose.services[host].environment
        opened = {
            value.rpartition(":")[2] for key, value in environment.items() if re.search("PORT$|BIND$|ENDPOINT$", key)
        }
        assert str(port) in opened, f"{host} does not open {port}"


def _prometheus_targets() -> list[tuple[str, int]]:
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    found = [(name, int(sd["port"])) for job in jobs for sd in job.get("dns_sd_configs", []) for name in sd["names"]]
    for target in (t for job in jobs for static in job.get("static_configs", []) for t in static["targets"]):
        host, _, port = target.partition(":")
        found.append((host, int(port)))
    return found


def test_the_namespace_gets_every_search_attribute_of_the_workflows() -> None:
    script = (DEPLOY / "temporal-namespace.sh").read_text()
    created = set(re.findall(r"\b([A-Z]\w+)=(Keyword|Datetime|Bool|Int|Text|Double)\b", script))
    assert created == {(key.name, type_name(key)) for key in search_attributes.ALL}


def test_paced_queues_have_one_partition_and_tenants_share_them_evenly() -> None:
    dynamic = yaml.safe_load((DEPLOY / "dynamicconfig.yaml").read_text())
    partitions = [dynamic[f"matching.numTaskqueue{kind}Partitions"] for kind in ("Read", "Write")]
    assert partitions[0] == partitions[1]
    defaults = [entry["value"] for entry in partitions[0] if "constraints" not in entry]
    assert defaults == [1]
    named = {entry["constraints"]["taskQueueName"] for entry in partitions[0] if "constraints" in entry}
    assert not any(name.startswith(("sends:", "lookups:")) for name in named)
    assert dynamic["matching.enableFairness"] == [{"value": True}]


def test_the_image_installs_by_hash_and_runs_without_root() -> None:
    stages = read_dockerfile(ROOT / "Dockerfile")
    builds = [i.text for stage in stages for i in stage if i.name == "RUN" and re.search(r"\b(uv|pip) \w+", i.text)]
    installs = [
        part.strip() for text in builds for part in text.split("&&") if re.search(r"pip install|uv build", part)
    ]
    assert installs
    for command in installs:
        assert "--require-hashes" in command or "--no-deps --no-index" in command, command
    final = stages[-1]
    users = [i.text for i in final if i.name == "USER"]
    assert users, "the final stage names no user, so it runs as root"
    assert users[-1].split(":")[0].isdigit()
    assert users[-1].split(":")[0] != "0"
    assert [i.text for i in final if i.name == "ENTRYPOINT"] == ['["rapport"]']
    assert not any("apt-get" in i.text or "uv" in i.text.split() for i in final)


def test_every_locked_requirement_has_a_hash() -> None:
    for name in ("requirements.lock", "requirements-uv.lock", "deploy/build-requirements.lock"):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        pinned = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        assert pinned
        assert all("==" in line and "--hash=sha256:" in line for line in pinned), name


def test_the_image_holds_every_package_and_only_what_is_let_through() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
    copied = {
        source
        for stage in read_dockerfile(ROOT / "Dockerfile")
        for instruction in stage
        if instruction.name == "COPY" and "--from" not in instruction.text
        for source in instruction.words[:-1]
    }
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert wheel <= copied
    assert copied == let_through
    assert [path for path in sorted(copied) if not (ROOT / path).exists()] == []


def test_secrets_are_made_once_and_closed_to_others(tmp_path: Path, compose: ComposeFile) -> None:
    script, target = DEPLOY / "make-secrets.sh", tmp_path / "secrets"
    subprocess.run([str(script), str(target)], check=True, capture_output=True)
    made = {path.name: path.read_text() for path in target.iterdir() if path.is_file()}
    assert set(made) == set(compose.secrets)
    assert target.stat().st_mode & 0o777 == 0o700
    assert made["store_service"] == f"[rapport]\npassword={made['rapport_db_password']}\n"
    assert len({made["master_key"], made["pepper"]}) == 2
    short = [name for name in _TOKENS if len((target / name).read_text().strip()) < SHORTEST_TOKEN]
    assert short == [], "our processes refuse to start with these"
    again = subprocess.run([str(script), str(target)], check=True, capture_output=True, text=True)
    assert again.stdout == ""
    assert {path.name: path.read_text() for path in target.iterdir() if path.is_file()} == made
