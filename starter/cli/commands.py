"""The commands of ``rapport`` and where each lives: a command's module is loaded only when it is called."""

from typing import NamedTuple


class Listed(NamedTuple):
    """A command: module, the name of its function or Typer app there, its help line and the panel it stands in."""

    module: str
    attribute: str
    summary: str
    panel: str


_ENGAGE, _OPERATE, _RUN, _SET_UP = "Engagements", "Operating", "Processes", "Setting up"

PROCESSES = frozenset({"worker", "gateway", "codec-server", "sandbox", "dev-server", "demo"})
"""Commands that run until they are told to end. No line is left of them as of what an operator does."""

COMMANDS: dict[str, Listed] = {
    "start": Listed("starter.cli.starting", "start", "Start one engagement, or one per row of a CSV file.", _ENGAGE),
    "list": Listed("starter.cli.reading", "list_engagements", "List a tenant's engagements, newest first.", _ENGAGE),
    "show": Listed("starter.cli.reading", "show", "Show where an engagement stands and what it waits for.", _ENGAGE),
    "trace": Listed("starter.cli.reading", "trace", "Tell everything that happened, and why.", _ENGAGE),
    "export": Listed("starter.cli.exporting", "export", "Write all that is kept of one as JSON.", _ENGAGE),
    "pause": Listed("starter.cli.pausing", "pause", "Let nothing leave: one, many, a line, a tenant.", _OPERATE),
    "resume": Listed("starter.cli.pausing", "resume", "Go on after a pause.", _OPERATE),
    "pauses": Listed("starter.cli.pausing", "pauses", "List paused tenants and lines.", _OPERATE),
    "stop": Listed("starter.cli.operating", "stop", "End engagements as STOPPED.", _OPERATE),
    "hand-over": Listed("starter.cli.operating", "hand_over", "End engagements: a person goes on.", _OPERATE),
    "mark-answered": Listed("starter.cli.operating", "mark_answered", "End one as COMPLETED: it answered.", _OPERATE),
    "sends": Listed("starter.cli.reading", "sends", "List sends; --unknown those to settle.", _OPERATE),
    "resolve-send": Listed("starter.cli.operating", "resolve_send", "Settle a send of unknown outcome.", _OPERATE),
    "resend": Listed("starter.cli.operating", "resend", "Send a step of unknown outcome once more.", _OPERATE),
    "templates": Listed("starter.cli.templates", "app", "Check, submit and look after templates.", _OPERATE),
    "holds": Listed("starter.cli.holds", "app", "See what is held and who waits; open a gate.", _OPERATE),
    "inbox": Listed("starter.cli.inbox", "app", "Look after events that found no engagement.", _OPERATE),
    "contacts": Listed("starter.cli.contacts", "app", "See, withdraw and restore leave to write.", _OPERATE),
    "erase": Listed("starter.cli.erasing", "erase", "Erase a person, everywhere.", _OPERATE),
    "retention": Listed("starter.cli.retaining", "app", "Drop what is past its time.", _OPERATE),
    "ats": Listed("starter.cli.ats", "app", "See what went wrong with a tenant's system; replay.", _OPERATE),
    "worker": Listed("starter.cli.run.worker", "worker", "Run workflows and activities.", _RUN),
    "gateway": Listed("starter.cli.run.gateway", "gateway", "Take webhooks in and serve the REST interface.", _RUN),
    "codec-server": Listed("starter.cli.run.codec_server", "codec_server", "Show payloads to the entitled.", _RUN),
    "sandbox": Listed("starter.cli.run.sandbox", "sandbox", "Simulate the providers, candidates included.", _RUN),
    "dev-server": Listed("starter.cli.run.dev_server", "dev_server", "Run a Temporal server on this machine.", _RUN),
    "demo": Listed("starter.cli.demo", "run_demo", "Run everything here and carry engagements through.", _RUN),
    "plan": Listed("starter.cli.plans", "app", "Check plans; move open engagements to a new version.", _SET_UP),
    "deploy": Listed("starter.cli.deploy", "app", "Say which release of the workers gets the work.", _SET_UP),
    "migrate": Listed("starter.cli.run.migrate", "migrate", "Bring the store up to this release.", _SET_UP),
    "keys": Listed("starter.cli.keys", "app", "See what each master key holds; rotate.", _SET_UP),
    "doctor": Listed("starter.cli.doctor", "doctor", "Check the set-up, line by line.", _SET_UP),
}
