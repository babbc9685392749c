"""The input of an engagement: everything it needs for weeks, so that no edit elsewhere changes it."""

from datetime import timedelta

from domain.budgets import Country
from domain.calls import Admission
from domain.contacts import Candidate
from domain.model import Duration, Instant, Model, Reference, Slug, Written
from domain.plans import Plan


class Capabilities(Model):
    """What a provider can do, as data: the workflow branches on these, never on a provider's name."""

    has_threads: bool
    can_read_runs: bool
    """A flow run can be asked about, so silence and lost answers can be settled by asking."""
    can_create_templates: bool
    can_cancel_runs: bool
    reads_templates_by_id: bool
    free_form_window: bool
    """It takes messages without a template while the candidate's 24 hours are open."""
    one_live_run_per_thread: bool
    confirms_ends: bool
    """The webhook does not prove its content, so an end is confirmed by reading the run."""
    tells_starts: bool = True
    """It says when a flow is under way, so that a plan can wait for it."""
    tells_arrivals: bool = True
    """It says when a message was delivered and read."""
    free_form_flows: bool = False
    """It opens a flow by a message without a template too."""


class Route(Model):
    """Where the engagement is carried: resolved once, when it starts."""

    account: Slug
    line: Slug
    provider: Slug
    capabilities: Capabilities


class Timing(Written):
    """Technical waits, in the input so that demo, chaos and tests can shorten them. The defaults are the safe ones."""

    send_start_to_close: Duration = timedelta(seconds=30)
    send_request: Duration = timedelta(seconds=20)
    """Longest time that one request to a provider may take in all."""
    send_budget: Duration = timedelta(hours=6)
    """How long one send is tried and queued behind its line before the engagement says that it is held."""
    lookup_start_to_close: Duration = timedelta(seconds=30)
    lookup_budget: Duration = timedelta(hours=1)
    provider_pause: Duration = timedelta(minutes=15)
    """How long a step rests after its retries were used up, before it is tried again."""
    template_poll: Duration = timedelta(minutes=1)
    template_poll_ceiling: Duration = timedelta(minutes=10)
    gate_rejoin: Duration = timedelta(hours=12)
    """How long an engagement trusts that its gate still knows of it; then it joins once more."""
    reconcile_settle: Duration = timedelta(seconds=60)
    """From a lost answer to the last look at the provider (A-R11)."""
    reconcile_reads: int = 3
    failure_settle: Duration = timedelta(seconds=30)
    """How long a failed flow run may take to explain itself by a failed message."""
    ats_budget: Duration = timedelta(days=7)


class FallbackRoute(Model):
    """Where the engagement is carried when nothing reaches the candidate on its first line: resolved at the start."""

    route: Route
    timing: Timing
    """That of the first line, with what the account of this one needs longer."""


class Engagement(Model):
    """The input of the ``candidate-engagement`` workflow. Sealed in Temporal."""

    tenant: Slug
    reference: Reference
    contact_id: str
    candidate: Candidate
    country: Country = ""
    """Of the candidate's number, where a budget in money needs it for its prices."""
    zone: str = "UTC"
    """The candidate's time zone, resolved when the engagement starts; send windows are read by it."""
    job: str = ""
    plan: Plan
    route: Route
    fallback: FallbackRoute | None = None
    """Where it may go over to, as the plan's ``silence.fallback`` says."""
    timing: Timing = Timing()
    notify_ats: bool = False
    ats_events: tuple[str, ...] = ()
    """What the tenant's system hears besides the outcome, as ``domain.ats.AtsEvent``."""
    admission: Admission | None = None
    """What the transaction that registered it decided, where nothing stood against it; None: it asks by itself."""
    fewer_steps: bool = False
    """It takes the fewer steps from its start; one that was started by an earlier release says so by a patch."""
    requested_at: Instant


class EngagementRequest(Written):
    """What a caller asks for: one candidate, one plan, one line, under the caller's own reference."""

    tenant: Slug
    reference: Reference
    line: Slug
    candidate: Candidate
    plan: Plan
    job: str = ""
    timing: Timing = Timing()
