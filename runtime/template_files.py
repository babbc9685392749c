"""The folder of template specifications: read as a whole, every mistake of every file at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from domain.errors import BadInput, Mistake, SetupError
from domain.plans import TemplateRef
from domain.templates import Fault, Place, TemplateSpecification, faults_of
from domain.topology import Account, Topology
from providers.registry import faults_by_provider
from runtime.settings import Settings
from runtime.yaml_source import YamlSource, field_name, read_yaml

Findings = Callable[[ValidationError, type[TemplateSpecification]], Sequence[tuple[Place, str]]]
"""Tells what pydantic found as (place, text)."""

_SUFFIXES = (".yaml", ".yml")
_PLACEHOLDERS: dict[str, object] = {"name": "x", "language": "en", "category": "UTILITY", "body": "x"}
_PLACEHOLDER_BUTTON: dict[str, object] = {"type": "QUICK_REPLY", "text": "x"}


@dataclass(frozen=True)
class SpecifiedTemplate:
    """A specification without mistakes, the file it stands in, and the accounts that it is for."""

    file: str
    specification: TemplateSpecification
    accounts: tuple[str, ...]


class TemplateFolder:
    """Specifications by account, name and language. Answers the port ``TemplateSpecifications``."""

    def __init__(self, templates: Sequence[SpecifiedTemplate] = ()) -> None:
        self.templates = tuple(templates)
        self._found = {
            (account, one.specification.name, one.specification.language): one.specification
            for one in self.templates
            for account in one.accounts
        }

    def find(self, account: str, template: TemplateRef) -> TemplateSpecification | None:
        """The specification of this name and language for an account; None when there is none."""
        return self._found.get((account, template.name, template.language))


def specifications_of(settings: Settings, topology: Topology) -> TemplateFolder:
    """What ``RAPPORT_TEMPLATES`` names; nothing when it is not set. Raises ``BadInput`` with every mistake."""
    return TemplateFolder() if settings.templates is None else load_templates(settings.templates, topology)


def load_templates(folder: Path, topology: Topology, findings: Findings | None = None) -> TemplateFolder:
    """Read every ``*.yaml`` of a folder. No provider is asked.

    Raises ``BadInput`` with every mistake of every file by our rules and by those of each provider that a template is
    for, each with file, line and field.
    """
    reading = _Reading(topology, findings or _plain)
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    except OSError as error:
        text = f"cannot be read as a folder of templates: {error.strerror}"
        raise BadInput([Mistake(text, file=str(folder))]) from None
    for file in files:
        reading.read(file)
    if reading.mistakes:
        raise BadInput(reading.mistakes)
    return TemplateFolder(reading.found)


def _plain(error: ValidationError, _model: type[TemplateSpecification]) -> list[tuple[Place, str]]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [(item["loc"], item["msg"].removeprefix("Value error, ")) for item in found]


class _Reading:
    def __init__(self, topology: Topology, findings: Findings) -> None:
        self._topology, self._findings = topology, findings
        self._taken: dict[tuple[str, str, str], str] = {}
        self.found: list[SpecifiedTemplate] = []
        self.mistakes: list[Mistake] = []

    def read(self, file: Path) -> None:
        try:
            source = read_yaml(file)
        except BadInput as error:
            self.mistakes += error.mistakes
            return
        if source.value is None:
            self.mistakes.append(Mistake("the file is empty: a template begins with its name", file=source.name))
            return
        try:
            whole = TemplateSpecification.model_validate(source.value)
        except ValidationError as error:
            shape = [Fault(place, text) for place, text in self._findings(error, TemplateSpecification)]
            self._tell(source, [*shape, *self._faults_besides(source, error)])
            return
        accounts, wrong = self._accounts(whole)
        faults = [*faults_of(whole), *wrong, *self._faults_by_providers(whole, accounts)]
        faults += self._already_there(whole, accounts, source.name)
        self._tell(source, faults)
        if not faults:
            self.found.append(SpecifiedTemplate(source.name, whole, tuple(a.slug for a in accounts)))

    def _tell(self, source: YamlSource, faults: Sequence[Fault]) -> None:
        told = [
            Mistake(fault.text, field=field_name(fault.place), file=source.name, line=source.line(fault.place))
            for fault in dict.fromkeys(faults)
        ]
        self.mistakes += sorted(told, key=lambda mistake: mistake.line or 0)

    def _faults_besides(self, source: YamlSource, error: ValidationError) -> list[Fault]:
        """What else is wrong where the shape is right: the parts of wrong shape are taken out and not spoken of."""
        broken = {_part(item["loc"]) for item in error.errors(include_input=False, include_context=False)}
        rest = _salvaged(source.value, broken)
        if rest is None:
            return []
        accounts, wrong = self._accounts(rest)
        if broken & {("body",), ("examples",)}:
            broken |= {("body",), ("examples",)}  # the one is judged by the other
        if broken & {("provider",), ("accounts",), ("lines",)}:
            broken |= {()}
        faults = [*faults_of(rest), *wrong, *self._faults_by_providers(rest, accounts)]
        return [fault for fault in faults if fault.place[:1] not in broken and fault.place[:2] not in broken]

    def _accounts(self, spec: TemplateSpecification) -> tuple[list[Account], list[Fault]]:
        topology = self._topology
        accounts = [a for a in topology.accounts if spec.provider is not None and a.provider == spec.provider]
        wrong = []
        for position, slug in enumerate(spec.accounts or ()):
            account = topology.account(slug)
            accounts += [account] if account is not None else []
            wrong += [] if account else [Fault(("accounts", position), f"the configuration has no account {slug}")]
        for position, slug in enumerate(spec.lines or ()):
            line = topology.line(slug)
            owner = topology.account(line.account) if line is not None else None
            accounts += [owner] if owner is not None else []
            wrong += [] if line else [Fault(("lines", position), f"the configuration has no line {slug}")]
        return list({account.slug: account for account in accounts}.values()), wrong

    @staticmethod
    def _faults_by_providers(spec: TemplateSpecification, accounts: Sequence[Account]) -> Iterator[Fault]:
        """By the rules of each account; where a provider is named that has no account here, by its defaults."""
        asked = [(account.provider, account.options) for account in accounts]
        try:
            if spec.provider is not None and not asked:
                yield from faults_by_provider(spec, spec.provider, None)
            for provider, options in asked:
                yield from faults_by_provider(spec, provider, options)
        except SetupError as error:
            yield Fault(next(((n,) for n in ("provider", "accounts", "lines") if getattr(spec, n)), ()), str(error))

    def _already_there(self, spec: TemplateSpecification, accounts: Sequence[Account], file: str) -> Iterator[Fault]:
        for account in accounts:
            first = self._taken.setdefault((account.slug, spec.name, spec.language), file)
            if first != file:
                yield Fault(("name",), f"account {account.slug} has this name in this language already, in {first}")


def _part(place: Place) -> Place:
    """The smallest part that can be taken out: a button, else a whole member."""
    return place[:2] if place[:1] == ("buttons",) else place[:1]


def _salvaged(value: object, broken: set[Place]) -> TemplateSpecification | None:
    """What is left without the broken parts, with harmless ones in their place; None when that is nothing."""
    if not isinstance(value, dict):
        return None
    kept = {name: part for name, part in value.items() if (name,) not in broken}
    buttons = kept.get("buttons")
    if isinstance(buttons, list):
        kept["buttons"] = [
            _PLACEHOLDER_BUTTON if ("buttons", position) in broken else button
            for position, button in enumerate(buttons)
        ]
    try:
        return TemplateSpecification.model_validate({**_PLACEHOLDERS, **kept})
    except ValidationError:
        return None
