"""Template specifications: what a person writes so that a template can be submitted, and how submissions stand."""

import hashlib
import json
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field

from domain.model import Slug, Written
from domain.plans import FlowRef, Language, TemplateRef

LONGEST_NAME = 512
LONGEST_HEADER = 60
LONGEST_BODY = 1024
LONGEST_FOOTER = 60
"""Characters that WhatsApp allows; every provider relays templates to it."""

Place = tuple[int | str, ...]
"""A path into what a person wrote, as in ``("buttons", 0, "text")``."""

_VARIABLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAME = re.compile(r"[a-z0-9_]+")
_VARIABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_ADDRESSEES = frozenset({"provider", "accounts", "lines"})
_OF_FLOWS = ("flow_id", "flow_name", "flow_json", "flow_action", "navigate_screen")


class SubmissionState(StrEnum):
    """A row of the submissions: ``calling → submitted | refused | unknown | not-submitted``."""

    CALLING = "calling"
    SUBMITTED = "submitted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_SUBMITTED = "not-submitted"
    """Known not to have reached the provider; it may be claimed again."""


class TemplateCategory(StrEnum):
    """What a template is for. The provider may change it; what comes back is what counts."""

    MARKETING = "MARKETING"
    UTILITY = "UTILITY"
    AUTHENTICATION = "AUTHENTICATION"


class ButtonType(StrEnum):
    """What a button does when it is tapped."""

    FLOW = "FLOW"
    """It opens a WhatsApp Flow."""
    QUICK_REPLY = "QUICK_REPLY"
    """It answers with its own text."""


class FlowAction(StrEnum):
    """How a FLOW button opens its Flow: on a screen, or by asking the Flow's own endpoint."""

    NAVIGATE = "navigate"
    DATA_EXCHANGE = "data_exchange"


class Fault(NamedTuple):
    """One thing wrong in a specification, and where. ``text`` says what to do; it repeats no text of the template."""

    place: Place
    text: str


class TemplateButton(Written):
    """A button below the text. All but ``text`` is for FLOW buttons, which name their Flow in exactly one way."""

    type: ButtonType
    text: str
    flow_id: str = ""
    flow_name: str = ""
    flow_json: str = ""
    """The Flow JSON as text; the Flow is made with the template."""
    flow_action: FlowAction | None = None
    """None is ``navigate``."""
    navigate_screen: str = ""
    """The first screen, by its id."""


def _texts_by_name(value: object) -> object:
    """YAML reads ``1: 2026`` as numbers, and both the variable and its example are texts."""
    return {_text(name): _text(example) for name, example in value.items()} if isinstance(value, dict) else value


def _text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Examples = Annotated[dict[str, str], BeforeValidator(_texts_by_name)]


class TemplateSpecification(Written):
    """A template as a person specifies it, for the accounts that exactly one of three members names.

    Right in shape is not right: ``faults_of`` tells what is wrong in it, and each provider has rules of its own.
    ``provider``: every account of it. ``accounts``: these. ``lines``: the accounts that these lines belong to, since a
    template belongs to an account and all its lines may send it.
    """

    name: str
    language: Language
    provider: Slug | None = None
    accounts: Annotated[tuple[Slug, ...], Field(min_length=1)] | None = None
    lines: Annotated[tuple[Slug, ...], Field(min_length=1)] | None = None
    category: TemplateCategory
    header: str = ""
    body: str
    """Text with variables: ``{{1}}``, ``{{2}}`` … or ``{{first_name}}``, never both kinds."""
    footer: str = ""
    examples: Examples = {}
    """A sample value for each variable of the body, for those who review the template. No real person's."""
    buttons: tuple[TemplateButton, ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of the body, each once, in the order of the text."""
        return tuple(dict.fromkeys(variables_in(self.body)))

    @property
    def is_named(self) -> bool:
        """Whether the variables have names instead of numbers."""
        return any(not _is_number(name) for name in self.variables)

    @property
    def samples(self) -> tuple[str, ...]:
        """The examples in the order of the variables."""
        return tuple(self.examples[name] for name in self.variables)

    @property
    def reference(self) -> TemplateRef:
        """The template as a plan would name it, without a provider's id."""
        return TemplateRef(
            name=self.name,
            language=self.language,
            named=self.is_named,
            variables=self.variables if self.is_named else (),
        )

    @property
    def flow(self) -> FlowRef | None:
        """The WhatsApp Flow that the template leads into; None without a FLOW button."""
        for position, button in enumerate(self.buttons):
            if button.type is ButtonType.FLOW:
                return FlowRef(id=button.flow_id, screen=button.navigate_screen, button=position)
        return None

    def fingerprint(self) -> str:
        """A hash of the content: equal whenever the provider would be asked for the same template.

        Whom it is for, the order of members and members left at their defaults do not count.
        """
        content = self.model_dump(mode="json", exclude=set(_ADDRESSEES), exclude_defaults=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def variables_in(text: str) -> list[str]:
    """Every ``{{variable}}`` of a text, in order, as often as it is there."""
    return _VARIABLE.findall(text)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def faults_of(spec: TemplateSpecification) -> tuple[Fault, ...]:
    """Everything wrong with a specification whichever provider it is for."""
    return (
        *_faults_of_addressees(spec),
        *_faults_of_texts(spec),
        *_faults_of_variables(spec),
        *_faults_of_buttons(spec),
    )


def _faults_of_addressees(spec: TemplateSpecification) -> Iterator[Fault]:
    if sum(one is not None for one in (spec.provider, spec.accounts, spec.lines)) != 1:
        yield Fault((), "name exactly one of provider, accounts and lines: whom this template is for")


def _faults_of_texts(spec: TemplateSpecification) -> Iterator[Fault]:
    if not _NAME.fullmatch(spec.name) or len(spec.name) > LONGEST_NAME:
        yield Fault(("name",), f"must be 1 to {LONGEST_NAME} of the characters a-z 0-9 _")
    if not spec.body.strip():
        yield Fault(("body",), "is empty")
    for member, text, longest in (
        ("header", spec.header, LONGEST_HEADER),
        ("body", spec.body, LONGEST_BODY),
        ("footer", spec.footer, LONGEST_FOOTER),
    ):
        if len(text) > longest:
            yield Fault((member,), f"has {len(text)} characters, at most {longest} are allowed")
        if member != "body" and text and not text.strip():
            yield Fault((member,), "is empty: leave it out")
        if member != "body" and _VARIABLE.search(text):
            yield Fault((member,), "takes no variable: only the body does")


def _faults_of_variables(spec: TemplateSpecification) -> Iterator[Fault]:
    used = spec.variables
    named = [name for name in used if not _is_number(name)]
    numbers = [name for name in used if _is_number(name)]
    rest = _VARIABLE.sub("", spec.body)
    if "{{" in rest or "}}" in rest:
        yield Fault(("body",), "holds {{ or }} that belong to no variable")
    if any(not _VARIABLE_NAME.fullmatch(name) for name in named):
        yield Fault(("body",), "holds a variable that is neither a number nor a name of letters, digits and _")
    if named and numbers:
        yield Fault(("body",), "mixes variables with numbers and variables with names: use one kind")
    elif numbers != [str(n) for n in range(1, len(numbers) + 1)]:
        yield Fault(("body",), "variables with numbers must be {{1}}, {{2}} … in the order of the text, without a gap")
    for name in used:
        if not spec.examples.get(name, "").strip():
            yield Fault(("examples",), f"no example for {{{{{name}}}}}: those who review the template need one")
    for name in spec.examples:
        if name not in used:
            yield Fault(("examples", name), "the body has no such variable")


def _faults_of_buttons(spec: TemplateSpecification) -> Iterator[Fault]:
    for position, button in enumerate(spec.buttons):
        at: Place = ("buttons", position)
        if not button.text.strip():
            yield Fault((*at, "text"), "is empty")
        if button.type is not ButtonType.FLOW:
            for member in _OF_FLOWS:
                if member in button.model_fields_set:
                    yield Fault((*at, member), "belongs to FLOW buttons only")
