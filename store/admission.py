"""May an engagement begin: consent, opt-outs, and whether the person is busy, inside a transaction of the caller's."""

from sqlalchemy import Connection, bindparam, select, update

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

_E = engagements.c
_THIS = _E.workflow_id == bindparam("engagement")
_ADMISSION = select(_E.admission_rule, _E.admission_reason, _E.line).where(_THIS)
_DECIDED = update(engagements).where(_THIS)
_OTHER = (
    select(_E.line, _E.tenant)
    .where(_E.contact_id == bindparam("contact"), ~_THIS, _E.admitted_at.is_not(None), _E.closed_at.is_(None))
    .limit(1)
)
_OTHER_ON_LINE = _OTHER.where(_E.line == bindparam("on_line"))
_OTHER_OF_TENANT = _OTHER.where(_E.tenant == bindparam("of_tenant"))


def admit_within(connection: Connection, request: AdmissionRequest) -> Admission:
    """``Contacts.admit`` inside a transaction."""
    # the contact is locked before anything is read: two engagements of one person are decided one after the other
    known = lock_contact(connection, request.contact_id) and not is_marked_within(connection, request.contact_id)
    row = connection.execute(_ADMISSION, {"engagement": request.workflow_id}).one_or_none()
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
        connection.execute(_DECIDED, {"engagement": request.workflow_id} | values)
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
    this = {"contact": request.contact_id, "engagement": request.workflow_id}
    on_line = this | {"on_line": request.line}
    if request.exclusive_line and connection.execute(_OTHER_ON_LINE, on_line).first() is not None:
        return f"the contact has another open engagement on line {request.line}"
    if request.when_busy is WhenBusy.PARALLEL:
        return ""
    of_tenant = connection.execute(_OTHER_OF_TENANT, this | {"of_tenant": request.tenant}).first()
    return "" if of_tenant is None else f"the contact has another open engagement with tenant {request.tenant}"


def _refused(rule: str, reason: str) -> Admission:
    return Admission(admitted=False, rule=rule, reason=reason)
