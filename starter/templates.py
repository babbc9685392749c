"""The registry of templates: what is specified, what was submitted, and what we know of each at its provider."""

from pathlib import Path

from domain.errors import BadInput, Mistake, NotFound, Scope
from domain.gates import Gate, GateTiming
from domain.ids import gate_workflow_id, template_scope
from domain.model import Instant, Model
from domain.plans import TemplateRef
from domain.sends import TemplateStatus
from domain.templates import SubmissionState, TemplateSpecification
from domain.topology import Topology
from runtime.template_files import TemplateFolder
from starter.templates_file import check_templates
from store.submissions import Submissions
from store.templates import KnownTemplate, Templates

Key = tuple[str, str, str]
"""Account, name and language: what a template is told apart by."""


class TemplateRow(Model):
    """One template of one account. ``file`` is empty where nothing specifies it, the rest where nobody looked yet."""

    account: str
    name: str
    language: str
    file: str = ""
    status: TemplateStatus | None = None
    raw_status: str = ""
    reason: str = ""
    read_at: Instant | None = None
    """Since when we know this status."""
    stale: bool = False
    """Something happened to it since: it is read again before the next send."""
    asked_category: str = ""
    category: str = ""
    provider_id: str = ""
    submission: SubmissionState | None = None
    submission_reason: str = ""
    submission_at: Instant | None = None

    @property
    def key(self) -> Key:
        """What it is told apart by."""
        return self.account, self.name, self.language

    @property
    def category_changed(self) -> bool:
        """Whether the provider moved it to another category."""
        return bool(self.category and self.asked_category) and self.category != self.asked_category

    @property
    def gate(self) -> str:
        """Id of the gate at which everybody waits who needs this template."""
        return gate_workflow_id(template_scope(self.account, self.name, self.language))


class TemplateService:
    """Specifications of a folder beside what the store knows. Methods raise ``BadInput`` and ``StoreUnavailable``.

    ``timing``: how closely a gate looks that is opened here.
    """

    def __init__(
        self,
        folder: Path | None,
        topology: Topology,
        states: Templates,
        submissions: Submissions,
        timing: GateTiming | None = None,
    ) -> None:
        self._folder, self._topology, self._timing = folder, topology, timing or GateTiming()
        self._states, self._submissions = states, submissions

    def specified(self) -> TemplateFolder:
        """The folder, read now; an empty one where none is configured."""
        return TemplateFolder() if self._folder is None else check_templates(self._folder, self._topology)

    async def rows(self) -> tuple[TemplateRow, ...]:
        """Every template that is specified or known, in the order of account, name and language."""
        rows = {
            key: TemplateRow(
                account=account,
                name=one.specification.name,
                language=one.specification.language,
                file=one.file,
                asked_category=one.specification.category.value,
            )
            for one in self.specified().templates
            for account in one.accounts
            for key in [(account, one.specification.name, one.specification.language)]
        }
        for known in await self._states.all():
            key = (known.account, known.name, known.language)
            rows[key] = _with_state(rows.get(key), known)
        return tuple([await self._with_submission(rows[key]) for key in sorted(rows)])

    async def find(self, name: str, language: str = "", account: str = "") -> tuple[TemplateRow, ...]:
        """Every template of this name. Raises ``NotFound`` when there is none."""
        found = [
            row
            for row in await self.rows()
            if row.name == name and language in ("", row.language) and account in ("", row.account)
        ]
        if not found:
            raise NotFound(f"no template {_told(name, language, account)} is specified or known")
        return tuple(found)

    async def gate_of(self, name: str, language: str = "", account: str = "") -> str:
        """Id of the gate of the one template that is meant.

        Raises ``BadInput`` where several may be meant, ``NotFound`` where none is.
        """
        if language and account:
            return TemplateRow(account=account, name=name, language=language).gate
        return _the_only([row.key for row in await self.find(name, language, account)]).gate

    def to_submit(self, name: str, language: str = "", account: str = "", template_id: str = "") -> Gate:
        """The gate that submits the one specification that is meant and watches it until it is decided.

        Raises ``NotFound`` when nothing specifies it, ``BadInput`` where several may be meant.
        """
        found: dict[Key, TemplateSpecification] = {
            (owner, name, one.specification.language): one.specification
            for one in self.specified().templates
            for owner in one.accounts
            if one.specification.name == name
            and language in ("", one.specification.language)
            and account in ("", owner)
        }
        if not found:
            folder = f"in {self._folder}" if self._folder else "since RAPPORT_TEMPLATES names no folder"
            raise NotFound(f"no specification of template {_told(name, language, account)} {folder}")
        row = _the_only(list(found))
        specification = found[row.key]
        reference = specification.reference.model_copy(update={"id": template_id})
        return Gate(
            scope=Scope.TEMPLATE,
            account=row.account,
            template=reference,
            flow=specification.flow,
            watch=True,
            timing=self._timing,
        )

    async def _with_submission(self, row: TemplateRow) -> TemplateRow:
        known = await self._submissions.find(row.account, TemplateRef(name=row.name, language=row.language))
        if known is None:
            return row
        told = {"submission": known.state, "submission_reason": known.reason, "submission_at": known.at}
        return row.model_copy(update=told)


def _with_state(specified: TemplateRow | None, known: KnownTemplate) -> TemplateRow:
    reading = known.reading
    return TemplateRow(
        account=known.account,
        name=known.name,
        language=known.language,
        file=specified.file if specified else "",
        status=reading.template_status,
        raw_status=reading.raw_status,
        reason=reading.reason,
        read_at=known.read_at,
        stale=known.stale,
        asked_category=reading.asked_category or (specified.asked_category if specified else ""),
        category=reading.category,
        provider_id=reading.provider_id,
    )


def _the_only(found: list[Key]) -> TemplateRow:
    if len(found) > 1:
        several = "; ".join(f"{account}, {language}" for account, _, language in found)
        raise BadInput([Mistake(f"several are meant: {several}", field="--account and --language")])
    account, name, language = found[0]
    return TemplateRow(account=account, name=name, language=language)


def _told(name: str, language: str, account: str) -> str:
    return " ".join(part for part in (name, f"({language})" if language else "", account and f"of {account}") if part)
