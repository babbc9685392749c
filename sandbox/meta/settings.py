"""What a Meta account of the sandbox is made of. Rules of the pages are not settings; unknowns and habits are."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, model_validator

from sandbox.values import Frozen, JsonObject

UNUSED_TOKEN = "unused"  # noqa: S105 - what Meta puts in place of a flow token, not a secret

Seconds = Annotated[float, Field(ge=0)]
Moment = Literal["at-once", "as-failed"]
"""When a recipient's refusal is told: in the answer, or later as a status ``failed``. Meta does both."""


def _text(value: object) -> object:
    """Ids are digits, which YAML reads as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _answers(value: object) -> object:
    """Let a Flow name what it collects as a list; each then has the answer ``yes``."""
    return dict.fromkeys(value, "yes") if isinstance(value, list | tuple) else value


GraphId = Annotated[str, BeforeValidator(_text), StringConstraints(pattern=r"^[0-9]{1,20}$")]
PhoneNumber = Annotated[str, BeforeValidator(_text), StringConstraints(pattern=r"^[1-9][0-9]{6,14}$")]


class PairLimit(Frozen):
    """How fast one line may write to one person: about one message per ``every``, bursts on credit (A-M5)."""

    burst: Annotated[int, Field(ge=1)] = 45
    every: Annotated[float, Field(gt=0)] = 6.0
    """Seconds until one message more is free."""


class MetaLine(Frozen):
    """A sending number."""

    phone_number_id: GraphId
    display_number: PhoneNumber
    """The number itself, digits with country code."""
    rate: Annotated[int, Field(ge=1)] | None = 80
    """Messages per second of the sandbox's clock, then 130429; None never throttles."""
    pair_limit: PairLimit | None = PairLimit()
    """None never refuses with 131056."""


class MetaFlow(Frozen):
    """A form."""

    id: GraphId
    name: str
    status: str = "PUBLISHED"
    """Also DRAFT, THROTTLED, BLOCKED, DEPRECATED."""
    screens: tuple[str, ...] = ()
    """Ids of the screens, the first one first; empty knows none and takes any."""
    collects: Annotated[JsonObject, BeforeValidator(_answers)] = {}
    """What a completed form answers, where the candidate has no other answer."""
    endpoint: bool = False
    """Whether the Flow has the encrypted endpoint that ``data_exchange`` needs."""


class MetaTemplate(Frozen):
    """A template that exists from the beginning."""

    id: GraphId
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")]
    language: str = "en_US"
    category: str = "MARKETING"
    status: str = "APPROVED"
    parameter_format: Literal["POSITIONAL", "NAMED"] = "POSITIONAL"
    header: str | None = None
    body: str
    footer: str | None = None
    flow_id: GraphId | None = None
    """The Flow that the button opens; None for a template without a FLOW button."""
    button: str = "Open form"
    navigate_screen: str | None = None
    """None takes the Flow's first screen."""
    quick_replies: tuple[str, ...] = ()
    """Labels of quick-reply buttons, after the FLOW button."""


class MetaAccount(Frozen):
    """One access token with one WhatsApp Business Account."""

    name: str = "meta"
    token: SecretStr
    app_secret: SecretStr
    """Signs webhooks."""
    verify_token: SecretStr
    """Told in the subscription handshake."""
    waba_id: GraphId
    lines: Annotated[tuple[MetaLine, ...], Field(min_length=1)]
    webhook_url: str | None = None
    flows: tuple[MetaFlow, ...] = ()
    templates: tuple[MetaTemplate, ...] = ()

    strict: bool = True
    """Refuse request members that the pages do not show."""
    review_delay: Seconds | None = None
    """Seconds until a new or edited template is reviewed; None leaves it PENDING until the control API says more."""
    review_status: Literal["APPROVED", "REJECTED"] = "APPROVED"
    review_reason: str = "INVALID_FORMAT"
    """Why, when reviews reject."""
    category_becomes: str | None = None
    """Meta may change the category of a template when it is created; None keeps what was asked."""
    name_filter: Literal["contains", "exact"] = "contains"
    """Whether ``name=`` of the list finds longer names too (A-M2)."""
    page_size: Annotated[int, Field(ge=1)] = 25
    """Templates of a page when the client does not say."""
    most_per_page: Annotated[int, Field(ge=1)] = 100
    """A higher ``limit`` is cut down to this without a word."""
    flow_ids_as_numbers: bool = True
    """Whether ids inside of components are shown as numbers; both occur."""
    creations_per_hour: Annotated[int, Field(ge=1)] | None = 100
    """Templates that may be created in an hour, then 80007."""

    throttle_status: Literal[400, 403, 429] = 429
    """HTTP status of throttling; all three have been seen (A-M1)."""
    undeliverable: Moment = "as-failed"
    """131026, for a number that is not on WhatsApp."""
    window_closed: Moment = "at-once"
    """131047."""
    marketing_stopped: Moment = "at-once"
    """131050."""
    blocked_fails: bool = False
    """Whether a message to who blocked the line fails (131026), or stays ``sent`` for ever."""
    send_delay: Seconds = 1.0
    """Seconds from accepting a message to ``sent``."""
    delivery_delay: Seconds = 1.0
    """Seconds from ``sent`` to ``delivered``."""
    skips_delivered: bool = False
    """Whether ``read`` may come without ``delivered`` before it, as it sometimes does."""
    message_status: str | None = "accepted"
    """``message_status`` of an answer to a send; None leaves it out, as the guide's sample does."""
    answer_style: Literal["cloud", "on-premises"] = "cloud"
    """``on-premises`` answers a send as the guide's second sample does: ``Input``, ``meta``, an id of another kind."""
    wa_ids: dict[PhoneNumber, PhoneNumber] = {}
    """Numbers whose WhatsApp id differs from what is dialled (regional renumbering)."""
    profile_name: str = "Zoë"
    """The name that candidates show; None of them has another."""
    prices: bool = True
    """Whether statuses carry ``conversation`` and ``pricing``, which are optional."""
    retry_delays: tuple[Seconds, ...] = (10, 60, 600, 3600, 6 * 3600, 12 * 3600, 24 * 3600, 48 * 3600, 72 * 3600)
    """Seconds before each further attempt of a webhook that was not answered 200: falling frequency, up to 7 days."""
    batch_seconds: Seconds = 0.0
    """Changes of this many seconds come in one delivery; 0 delivers each alone."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "MetaAccount":
        flows = {flow.id for flow in self.flows}
        wrong = [
            f"template {t.name}: no flow {t.flow_id}" for t in self.templates if t.flow_id and t.flow_id not in flows
        ]
        for what, names in (
            ("line", [line.phone_number_id for line in self.lines]),
            ("flow", [flow.id for flow in self.flows]),
            ("flow", [flow.name for flow in self.flows]),
            ("template", [t.id for t in self.templates]),
            ("template", [f"{t.name} in {t.language}" for t in self.templates]),
        ):
            wrong += [f"{what} {name}: named twice" for name in sorted({n for n in names if names.count(n) > 1})]
        if not all(secret.get_secret_value() for secret in (self.token, self.app_secret, self.verify_token)):
            wrong.append("token, app_secret and verify_token must not be empty")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self
