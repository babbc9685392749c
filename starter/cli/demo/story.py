"""What the demo is made of: the example plans, and the files in ``examples/demo`` with the addresses of this run."""

import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, RootModel

from domain.errors import SetupError
from domain.model import Reference, Written
from domain.outcomes import EngagementOutcome
from runtime.topology import load_topology
from runtime.yaml_source import load_yaml_model

EXAMPLES = Path(__file__).parents[3] / "examples" / "demo"
PLANS = EXAMPLES.parent / "plans"
TEMPLATES = PLANS / "templates"
GATE = "gate:template:acme-meta:enfermeria_cribado:es"
"""Where the candidates on Meta wait while their template is submitted and reviewed."""
PROVIDERS = ("recrubo", "meta", "truora")


@dataclass(frozen=True)
class Cast:
    """The candidates of one example plan: their line, its provider, and that one's name for a send in faults."""

    name: str
    provider: str
    line: str
    send: str

    @property
    def plan(self) -> Path:
        """Their plan."""
        return PLANS / f"{self.name}.yaml"

    @property
    def candidates(self) -> Path:
        """Who they are."""
        return EXAMPLES / f"{self.name}.csv"


CASTS = (
    Cast("warehouse-intake-nl", "recrubo", "recruiting", "run-create"),
    Cast("interview-reminder", "recrubo", "recruiting", "run-create"),
    Cast("nurse-screening-es", "meta", "nursing", "message-send"),
    Cast("driver-onboarding-co", "truora", "driving", "outbound-send"),
)


class Expected(Written):
    """How one candidate's engagement should end."""

    outcome: EngagementOutcome
    messages: Annotated[int, Field(ge=0)]
    worth_reading: bool = False
    """Whether the demo names its story at the end."""
    fault: Literal["throttle", "cut-after", "cut-before"] | None = None


class Story(RootModel[dict[Reference, Expected]]):
    """Every candidate of the demo by reference."""


class Addresses(Written):
    """Where the processes of this run listen."""

    sandbox: int
    webhooks: int
    rest: int
    codec: int
    ui: int


class Script:
    """The demo's files for one run, in its own directory."""

    def __init__(self, directory: Path, addresses: Addresses) -> None:
        self.directory, self.addresses = directory, addresses
        self.topology, self.sandbox = directory / "rapport.yaml", directory / "sandbox.yaml"
        self.story = load_yaml_model(EXAMPLES / "story.yaml", Story).root
        self.variables = directory / "env"
        """What another shell needs to look at this run."""
        self._api_token = secrets.token_urlsafe(24)

    def write(self) -> None:
        """Write the configuration and the sandbox's settings with this run's addresses. Raises ``SetupError``."""
        if not EXAMPLES.is_dir():
            raise SetupError(f"{EXAMPLES} is missing: the demo runs from a checkout, with make demo")
        at = f"http://127.0.0.1:{self.addresses.sandbox}"
        topology = load_topology(EXAMPLES / "rapport.yaml").model_dump(mode="json", exclude_defaults=True)
        for tenant in topology["tenants"]:
            tenant["ats"]["url"] = f"{at}/ats/{tenant['slug']}"
        for account in topology["accounts"]:
            account["base_url"] = f"{at}/{_path_of(account['base_url'])}"
        self.topology.write_text(yaml.safe_dump(topology, sort_keys=False))
        sandbox = yaml.safe_load((EXAMPLES / "sandbox.yaml").read_text())
        for provider, accounts in sandbox["accounts"].items():
            for account in accounts:
                account["webhook_url"] = (
                    f"http://127.0.0.1:{self.addresses.webhooks}/webhooks/{provider}/{account['name']}"
                )
        self.sandbox.write_text(yaml.safe_dump({**sandbox, "port": self.addresses.sandbox}, sort_keys=False))

    def keep(self, environment: Mapping[str, str]) -> None:
        """Write the environment to a file that a shell can read."""
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in environment.items()]
        self.variables.write_text("".join(lines))
        self.variables.chmod(0o600)

    def environment(self, temporal: str) -> dict[str, str]:
        """What every process of the demo is told. The secrets are the sandbox's, made up, and guard nothing."""
        sandbox = yaml.safe_load((EXAMPLES / "sandbox.yaml").read_text())
        recrubo, meta, truora = (sandbox["accounts"][provider][0] for provider in PROVIDERS)
        return {
            "TEMPORAL_ADDRESS": temporal,
            "RAPPORT_CONFIG": str(self.topology),
            "RAPPORT_TEMPLATES": str(TEMPLATES),
            "RAPPORT_STATE_DIR": str(self.directory),
            "RAPPORT_GATEWAY__WEBHOOK_PORT": str(self.addresses.webhooks),
            "RAPPORT_GATEWAY__REST_PORT": str(self.addresses.rest),
            "RAPPORT_CODEC__PORT": str(self.addresses.codec),
            "RAPPORT_CODEC__UI_ORIGIN": f"http://127.0.0.1:{self.addresses.ui}",
            "RAPPORT_LOG__FORMAT": "json",
            "RAPPORT_WORKER__LEASE": "3s",  # a killed worker's lines are those of its successor soon enough to watch
            "DEMO_RECRUBO_TOKEN": recrubo["token"],
            "DEMO_RECRUBO_WEBHOOK_SECRET": recrubo["webhook_secret"],
            "DEMO_META_TOKEN": meta["token"],
            "DEMO_META_APP_SECRET": meta["app_secret"],
            "DEMO_META_VERIFY_TOKEN": meta["verify_token"],
            "DEMO_TRUORA_KEY": truora["api_key"],
            "DEMO_TRUORA_SIGNING_KEY": truora["signing_key"],
            "DEMO_ATS_SECRET": sandbox["ats"]["acme"],
            "DEMO_API_TOKEN": self._api_token,
        }


def _path_of(url: str) -> str:
    return url.split("/", 3)[3]
