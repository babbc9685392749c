"""Everything that our processes read from the environment, in one frozen class built once per entry point.

The connection to Temporal is not here: it is Temporal's own ``TEMPORAL_*`` variables and profiles (temporal.py).
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from domain.errors import Mistake, SetupError
from domain.model import Duration
from domain.retention import RetentionTerms

PREFIX = "RAPPORT_"
DELIMITER = "__"

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 lets the system choose."""

Host = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]

Bind = Annotated[str, StringConstraints(pattern=r"^[^\s:]+:[0-9]{1,5}$|^\[[0-9a-fA-F:]+\]:[0-9]{1,5}$")]
"""``host:port`` to listen on."""

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@]+(?:/[^\s@]*)?$")]
"""An http or https address without credentials in it."""

Origin = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@,]+$")]


def _is_store_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
        raise ValueError("must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE")
    return value


class _Section(BaseModel):
    """A misspelt name inside a section is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class StoreSettings(_Section):
    """Where the store is. The URL may hold a password, so it is kept as a secret."""

    url: Annotated[SecretStr, AfterValidator(_is_store_url)] | None = None
    """Default: a SQLite file in the state directory, which serves one machine."""


class KeySettings(_Section):
    """The key that wraps all others and the key under which people are recognised.

    Each is 32 bytes in base64 or hex, or a reference ``env:NAME`` or ``file:PATH`` to that. ``runtime.secrets`` reads
    them and, on a single machine, makes them once.
    """

    master: SecretStr | None = None
    pepper: SecretStr | None = None
    """Never changes: aliases of contacts are HMACs under it."""
    former: SecretStr | None = None
    """Master keys that were in use before, separated by commas, as long as something is wrapped by one: they open and
    seal nothing new. ``rapport keys list`` says which are still needed."""


class GatewaySettings(_Section):
    """The two listeners of the gateway."""

    webhook_host: Host = "127.0.0.1"
    webhook_port: Port = 8080
    rest_host: Host = "127.0.0.1"
    rest_port: Port = 8081


class WorkerSettings(_Section):
    """The worker process. Reasons for the numbers: docs of the Temporal SDK and our benchmark."""

    build_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")] | None = None
    """Turns worker versioning on for the engagement workers; absent on a developer's machine."""
    max_workflow_tasks: Annotated[int, Field(ge=1)] = 40
    max_activities: Annotated[int, Field(ge=1)] = 100
    max_cached_workflows: Annotated[int, Field(ge=0)] = 2000
    graceful_shutdown: Duration = timedelta(seconds=25)
    """Longer than one request may take (20 s), shorter than the start-to-close of a send (30 s)."""
    lease: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(seconds=15)
    """How long a line stays with a worker that died. It is renewed at every third; a worker that could not renew for
    two thirds lets the line go, so a store that is away for some four seconds interrupts nothing."""


class CodecSettings(_Section):
    """The codec server that shows payloads in Temporal UI."""

    host: Host = "127.0.0.1"
    port: Port = 8082
    ui_origin: Origin = "http://127.0.0.1:8233"
    """Where Temporal UI is served from; no other origin may ask."""
    oidc_issuer: Url | None = None
    """Who signs the identity tokens that are taken beside ours, exactly as its tokens say; none without it."""
    oidc_audience: Annotated[str, StringConstraints(min_length=1)] | None = None
    """For whom such a token must have been made: this server's client id at the issuer."""
    oidc_jwks: Annotated[str, StringConstraints(pattern=r"^(?:https?://[^\s@]+|file:.+)$")] | None = None
    """The issuer's public keys: an address, or ``file:PATH``."""
    oidc_tenant_claim: Annotated[str, StringConstraints(min_length=1)] = "tenant"
    oidc_roles_claim: Annotated[str, StringConstraints(min_length=1)] = "roles"
    """A list of words or one text of words; ``read`` must be among them."""


class MetricsSettings(_Section):
    """Where this process shows its metrics; one port per process, none when absent."""

    bind: Bind | None = None


class RetentionSettings(RetentionTerms, _Section):
    """How long what is kept; ``domain.retention`` says from when each counts."""


class LogFormat(StrEnum):
    """How log lines look; AUTO is CONSOLE on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least level that is shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSettings(_Section):
    """Logs go to standard error."""

    format: LogFormat = LogFormat.AUTO
    level: LogLevel = LogLevel.INFO


class Settings(BaseSettings):
    """What the environment says: ``RAPPORT_CONFIG``, ``RAPPORT_TEMPLATES``, ``RAPPORT_STATE_DIR`` and
    ``RAPPORT_<SECTION>__<NAME>``.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
        extra="ignore",
    )

    config: Path | None = None
    """The topology file: tenants, accounts, lines, tokens."""
    templates: Path | None = None
    """The folder of template specifications; without one nothing is submitted."""
    state_dir: Path = Path(".rapport")
    """What a single machine keeps: the SQLite store, generated keys, the dev server's data."""
    store: StoreSettings = StoreSettings()
    keys: KeySettings = KeySettings()
    gateway: GatewaySettings = GatewaySettings()
    worker: WorkerSettings = WorkerSettings()
    codec: CodecSettings = CodecSettings()
    metrics: MetricsSettings = MetricsSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()

    @property
    def store_url(self) -> SecretStr:
        """The store's URL, by default a SQLite file in the state directory."""
        if self.store.url is not None:
            return self.store.url
        return SecretStr(f"sqlite:///{self.state_dir.absolute() / 'rapport.sqlite3'}")

    @property
    def is_single_machine(self) -> bool:
        """Whether the store is a local file, so that nobody else needs our keys."""
        return self.store_url.get_secret_value().startswith("sqlite")

    def topology_path(self) -> Path:
        """The topology file. Raises ``SetupError`` where none is named."""
        if self.config is None:
            raise SetupError(
                f"{PREFIX}CONFIG is not set: name the YAML file that lists tenants, accounts and lines, "
                f"for example {PREFIX}CONFIG=rapport.yaml"
            )
        return self.config


def load_settings() -> Settings:
    """Read the environment. Raises ``SetupError`` that names every mistake and shows no value."""
    mistakes = list(_misnamed(os.environ))
    settings = None
    try:
        settings = Settings()
    except ValidationError as error:
        mistakes += [
            Mistake(field=_variable(problem["loc"]), message=problem["msg"].removeprefix("Value error, "))
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
            if problem["type"] != "extra_forbidden"  # already told as a name that does not exist
        ]
    except SettingsError:  # a whole section given as text that is no JSON: told by its name below
        if not mistakes:
            raise SetupError("the environment: a RAPPORT_ variable cannot be read") from None
    if mistakes or settings is None:
        listed = "\n".join(f"  {mistake}" for mistake in sorted(mistakes, key=str))
        raise SetupError(f"the settings in the environment are wrong:\n{listed}") from None
    return settings


def variable_names() -> tuple[str, ...]:
    """Every environment variable that the settings know."""
    names = []
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            names += [_variable((name, inner)) for inner in section.model_fields]
        else:
            names.append(_variable((name,)))
    return tuple(names)


def _variable(loc: tuple[int | str, ...]) -> str:
    return PREFIX + DELIMITER.join(str(part) for part in loc[:2]).upper()


def _misnamed(environ: Mapping[str, str]) -> Iterator[Mistake]:
    """Names that were surely meant for us and would otherwise be ignored without a word.

    Secrets that a configuration refers to may be called ``RAPPORT_ANYTHING``, so a name without ``__`` is only
    refused where it is nearly one of ours.
    """
    known = variable_names()
    sections = {name.split(DELIMITER)[0] for name in known if DELIMITER in name}
    for name in sorted(environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known:
            continue
        if upper in sections:
            yield Mistake(field=name, message=f"set its parts one by one, as {upper}{DELIMITER}NAME")
            continue
        close = difflib.get_close_matches(upper, known, n=1, cutoff=0.87)
        hint = f"; did you mean {close[0]}?" if close else ""
        if DELIMITER in upper or close:
            yield Mistake(field=name, message=f"no such setting{hint}")
