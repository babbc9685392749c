"""Templates that we submitted: one row each, claimed before the request leaves, so that none is submitted twice."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, select, update

from domain.errors import OutcomeUnknown
from domain.model import Instant, Model
from domain.plans import TemplateRef
from domain.templates import SubmissionState
from store.database import Database, insert_new
from store.tables import template_submissions

_KEY = ("account", "name", "language")
_OPEN = (SubmissionState.CALLING, SubmissionState.UNKNOWN)


class Submission(Model):
    """How the submission of one template stands. ``at`` is when it was claimed or, later, when it ended."""

    account: str
    name: str
    language: str
    state: SubmissionState
    fingerprint: str
    reason: str = ""
    at: Instant
    actor: str = ""


class Submissions:
    """Submissions in the store, port ``TemplateSubmissions``. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self,
        account: str,
        template: TemplateRef,
        fingerprint: str,
        at: datetime,
        *,
        again: bool = False,
        actor: str = "",
    ) -> bool:
        """Record the intent, in one transaction. True: submit now. False: it was submitted before.

        What is known not to have reached the provider may always be claimed again, what was refused when the
        specification has another ``fingerprint``. ``again`` is a person's word and claims whatever stands there, but
        only once: it counts while ``at`` is later than the row, so an activity that is tried again with the same
        instant does not submit twice. Raises ``OutcomeUnknown`` for a row that is under way or in doubt.
        """
        wanted = Submission(
            account=account,
            name=template.name,
            language=template.language,
            state=SubmissionState.CALLING,
            fingerprint=fingerprint,
            at=at,
            actor=actor,
        )
        return await self._database.write(lambda connection: _claim(connection, wanted, again=again))

    async def settle(
        self, account: str, template: TemplateRef, state: SubmissionState, reason: str, at: datetime
    ) -> None:
        """Write how the claimed submission ended, or what a later look found out.

        An ending from before the present claim, and one of a template that was never claimed, change nothing.
        """
        row = and_(_this(account, template.name, template.language), template_submissions.c.at <= at)
        ending = update(template_submissions).where(row).values(state=state.value, reason=reason, at=at)
        await self._database.write(lambda connection: connection.execute(ending))

    async def find(self, account: str, template: TemplateRef) -> Submission | None:
        """The row of a template; None when it was never submitted from here."""
        wanted = select(template_submissions).where(_this(account, template.name, template.language))
        row = await self._database.read(lambda connection: connection.execute(wanted).mappings().one_or_none())
        return None if row is None else Submission.model_validate(dict(row))


def _claim(connection: Connection, wanted: Submission, *, again: bool) -> bool:
    values = wanted.model_dump() | {"state": wanted.state.value}
    if insert_new(connection, template_submissions, values, key=_KEY):
        return True
    this = _this(wanted.account, wanted.name, wanted.language)
    row = connection.execute(select(template_submissions).where(this).with_for_update()).mappings().one()
    stands = Submission.model_validate(dict(row))
    if _may_claim(stands, wanted, again=again):
        connection.execute(update(template_submissions).where(this).values(**values))
        return True
    if stands.state in _OPEN:
        raise OutcomeUnknown(
            f"Template {wanted.name} ({wanted.language}) of account {wanted.account} may have been submitted already: "
            "look at the provider whether it is there, and submit it again only if it is not",
            code="submission-unknown",
        )
    return False


def _may_claim(stands: Submission, wanted: Submission, *, again: bool) -> bool:
    if stands.state is SubmissionState.NOT_SUBMITTED:
        return True
    if stands.state is SubmissionState.REFUSED and stands.fingerprint != wanted.fingerprint:
        return True
    return again and wanted.at > stands.at


def _this(account: str, name: str, language: str) -> ColumnElement[bool]:
    return and_(
        template_submissions.c.account == account,
        template_submissions.c.name == name,
        template_submissions.c.language == language,
    )
