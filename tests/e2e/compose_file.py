"""Reads docker-compose.yml as strictly as Compose does, so that a misspelt key is found without a container."""

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BeforeValidator, model_validator

from domain.model import Duration, JsonValue, Written

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::-([^}]*))?\}|(\{?\w*))")

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]


def _networks(value: object) -> object:
    return dict.fromkeys(value) if isinstance(value, list) else value


class Dependency(Written):
    """What has to be true of another service before this one starts."""

    condition: Condition


class HealthCheck(Written):
    """The command that tells whether a container is well."""

    test: tuple[str, ...]
    interval: Duration
    timeout: Duration
    retries: int
    start_period: Duration


class Logging(Written):
    """Where output goes, and how much of it is kept."""

    driver: str
    options: dict[str, str]


class Service(Written):
    """One service: the keys that our file uses, and no other."""

    image: str
    build: str | None = None
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    depends_on: dict[str, Dependency] = {}
    healthcheck: HealthCheck | None = None
    networks: Annotated[dict[str, None], BeforeValidator(_networks)] = {}
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    restart: Literal["unless-stopped", "on-failure"]
    stop_grace_period: Duration = timedelta(seconds=10)
    init: bool = False
    read_only: bool = False
    tmpfs: tuple[str, ...] = ()
    shm_size: str = ""
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    logging: Logging

    @property
    def is_ours(self) -> bool:
        """Whether it runs the image that our Dockerfile builds."""
        return self.build is not None


class Network(Written):
    """A network; an internal one has no way out, and no port can be published from it."""

    internal: bool = False


class SecretFile(Written):
    """A secret, as a file of the host."""

    file: str


class ComposeFile(Written):
    """The whole file after variables are filled in."""

    name: str
    services: dict[str, Service]
    networks: dict[str, Network]
    volumes: dict[str, dict[str, str]]
    secrets: dict[str, SecretFile]

    @model_validator(mode="after")
    def _names_fit(self) -> "ComposeFile":
        wrong = []
        for name, service in self.services.items():
            known: dict[str, tuple[Iterable[str], Collection[str]]] = {
                "depends on": (service.depends_on, self.services),
                "uses secret": (service.secrets, self.secrets),
                "is on network": (service.networks, self.networks),
                "mounts volume": (_named_volumes(service), self.volumes),
            }
            for what, (used, defined) in known.items():
                wrong += [f"{name} {what} {one}, which does not exist" for one in used if one not in defined]
            for other, dependency in service.depends_on.items():
                if dependency.condition == "service_healthy" and self.services[other].healthcheck is None:
                    wrong.append(f"{name} waits for {other} to be healthy, which has no health check")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def _named_volumes(service: Service) -> list[str]:
    return [source for source in (v.split(":")[0] for v in service.volumes) if not source.startswith((".", "/"))]


def read_compose_file(path: Path, variables: Mapping[str, str] | None = None) -> ComposeFile:
    """Read the file with these variables, and the defaults of those that are not given.

    Raises ``ValueError`` for a key that Compose does not know or we do not use, and for a name that nothing defines.
    """
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    filled = _filled({key: value for key, value in raw.items() if not key.startswith("x-")}, variables or {})
    return ComposeFile.model_validate(filled)


def _filled(value: JsonValue, variables: Mapping[str, str]) -> JsonValue:
    if isinstance(value, dict):
        return {key: _filled(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, variables) for inner in value]
    return _interpolated(value, variables) if isinstance(value, str) else value


def _interpolated(text: str, variables: Mapping[str, str]) -> str:
    """``${NAME:-default}`` and ``$$`` as Compose reads them. Raises ``ValueError`` for every other dollar sign."""

    def value(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        if found[2] is None:
            raise ValueError(f"{text}: write ${{NAME:-default}}, or $$ for a dollar sign")
        given = variables.get(found[2]) or found[3]
        if given is None:
            raise ValueError(f"{text}: {found[2]} has neither a value nor a default")
        return given

    return _VARIABLE.sub(value, text)


class Instruction(Written):
    """One instruction of a Dockerfile, continuation lines joined."""

    name: str
    text: str

    @property
    def words(self) -> tuple[str, ...]:
        """Its arguments without flags."""
        return tuple(word for word in shlex.split(self.text) if not word.startswith("--"))


def read_dockerfile(path: Path) -> tuple[tuple[Instruction, ...], ...]:
    """The stages of a Dockerfile, each beginning with its FROM; ARG before the first is left out."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    stages: list[list[Instruction]] = []
    for statement in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, text = statement.strip().partition(" ")
        if name == "FROM":
            stages.append([])
        if stages:
            stages[-1].append(Instruction(name=name, text=text.strip()))
    return tuple(map(tuple, stages))
