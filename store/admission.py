"""May an engagement begin: consent, opt-outs, and whether the person is busy, inside a transaction of the caller's."""

from sqlalchemy import Connection, select, update

from domain.calls import Admission, AdmissionRequest
from domain.contacts import Reach
from domain.plans import WhenBusy
from store.aliases import lock_contact
from store.erasure_tables import is_marked_within
from store.leave import has_consent_within, opt_out_in_force, record_consent_within
from store.tables import engagements

NO_CONSENT = "no-consent"
OPTED_OUT = "opted-out"
ALREADY_BUSY = "already-busy"
QUEUED = "queued"
UNKNOWN_CONTACT = "unknown-contact"
NOT_REGISTERED = "not-registered"

_ADMITTED = Admission(admitted=True)


def admit_within(connection: Connection, request: AdmissionRequest) -> Admission:
    """``Contacts.admit`` inside a transaction."""
    # the contact is locked before anything is read: two engagements of one person are decided one after the other
    known = lock_contact(connection, request.contact_id) and not is_marked_within(connection, request.contact_id)
    row = connection.execute(
        select(engagements.c.admission_rule, engagements.c.admission_reason, engagements.c.line).where(
            engagements.c.workflow_id == request.workflow_id
        )
    ).one_or_none()
    if row is None:
        return _refused(NOT_REGISTERED, f"{request.workflow_id} is not in the registry: start it through the service")
    over = request.goes_over_to if row.line != request.line else None
    if row.admission_rule is not None and over is None:
        return Admission(admitted=row.admission_rule == "", rule=row.admission_rule, reason=row.admission_reason or "")
    if known and request.consent is not None:
        record_consent_within(connection, request.contact_id, request.tenant, request.consent)
    answer = judge_within(connection, request, known=known)
    values: dict[str, object] = {
        "admission_rule": None if answer.queued else answer.rule,
        "admission_reason": answer.reason,
        "admitted_at": request.at if answer.admitted else None,
    }
    if over is not None:  # it was admitted and still is; where it may not go over it stays where it is
        values = {"line": request.line, "account": over.account, "provider": over.provider} if answer.admitted else {}
    if values:
        this = engagements.c.workflow_id == request.workflow_id
        connection.execute(update(engagements).where(this).values(**values))
    return answer


def judge_within(connection: Connection, request: AdmissionRequest, *, known: bool) -> Admission:
    """What the rules say now; writes nothing. The contact is locked, or not ``known``."""
    if not known:
        return _refused(UNKNOWN_CONTACT, "the contact is not in the store: it was erased, or never resolved")
    if not has_consent_within(connection, request.contact_id, request.tenant):
        return _refused(NO_CONSENT, f"tenant {request.tenant} has no opt-in of this contact")
    reach = Reach(tenant=request.tenant, line=request.line, job=request.job)
    scope = opt_out_in_force(connection, request.contact_id, reach)
    if scope is not None:
        return _refused(OPTED_OUT, f"the contact opted out (scope: {scope.value})")
    busy = _busy(connection, request)
    if busy and request.when_busy is WhenBusy.QUEUE:
        return Admission(admitted=False, rule=QUEUED, reason=f"{busy}; it waits for that to end", queued=True)
    return _refused(ALREADY_BUSY, busy) if busy else _ADMITTED


def _busy(connection: Connection, request: AdmissionRequest) -> str:
    """Why the person is busy; empty when they are not. One who waits is not counted, or two would wait for another."""
    c = engagements.c
    other = select(c.line, c.tenant).where(
        c.contact_id == request.contact_id,
        c.workflow_id != request.workflow_id,
        c.admitted_at.is_not(None),
        c.closed_at.is_(None),
    )
    if request.exclusive_line and connection.execute(other.where(c.line == request.line).limit(1)).first() is not None:
        return f"the contact has another open engagement on line {request.line}"
    if request.when_busy is WhenBusy.PARALLEL:
        return ""
    of_tenant = connection.execute(other.where(c.tenant == request.tenant).limit(1)).first()
    return "" if of_tenant is None else f"the contact has another open engagement with tenant {request.tenant}"


def _refused(rule: str, reason: str) -> Admission:
    return Admission(admitted=False, rule=rule, reason=reason)
