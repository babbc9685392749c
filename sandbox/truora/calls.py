"""The calls: list and read outbounds, send one, read a process."""

import re
from collections.abc import Mapping

from sandbox.truora import form
from sandbox.truora.book import Outbound, Session
from sandbox.truora.desk import Asked, Consequence, Desk, Taken
from sandbox.truora.envelope import JsonAnswer, Mistake, refuse, refuse_all
from sandbox.truora.hooks import OUTBOUND, PROCESS
from sandbox.values import JsonObject

_LINE = re.compile(r"[1-9][0-9]{6,14}")


def find_outbounds(desk: Desk, asked: Asked) -> Taken:
    """GET /outbounds?line=: all outbounds of a line as a bare array (A-T8)."""
    line = asked.parameters(desk, "line").get("line")
    if not line:
        raise refuse(400, "missing-line", "line is required", "line")
    if not _LINE.fullmatch(line):
        raise refuse(400, "line", "line must be digits with the country code and without a plus sign", "line")
    found = [made.shown(desk.book.client_id) for made in desk.book.outbounds.values() if made.line == line]
    return Taken(JsonAnswer([*found]))


def show_outbound(desk: Desk, asked: Asked) -> Taken:
    """GET /outbounds/{id}."""
    asked.parameters(desk)
    return Taken(JsonAnswer(desk.outbound(asked.id).shown(desk.book.client_id)))


def send(desk: Desk, asked: Asked) -> Taken:
    """POST /outbounds/send: taken at once, on the phone a little later."""
    asked.parameters(desk)
    pairs, account = form.fields(asked.body), desk.account
    mistakes = form.judge(pairs, takes_account_id=account.takes_account_id, strict=account.strict)
    given = dict(pairs)
    outbound = desk.book.outbounds.get(given.get("outbound_id", ""))
    if outbound is not None:
        mistakes += _judge_outbound(desk, outbound, given)
    refuse_all(400, mistakes)
    outbound = desk.outbound(given["outbound_id"])
    session = desk.book.open_session(
        form.number(given),
        outbound,
        desk.book.flows.get(given.get("flow_id", "")),
        {name.removeprefix(form.VARIABLE): value for name, value in pairs if name.startswith(form.VARIABLE)},
        given.get("account_id") if account.takes_account_id else None,
        now=desk.now(),
    )
    tells = (f"{OUTBOUND}:started", f"{PROCESS}:failed")
    begin = Consequence(account.start_delay, lambda: desk.life.begin(session), session.id, session.number, tells)
    return Taken(_started(desk, session, given.get("flow_id")), (begin,))


def show_process(desk: Desk, asked: Asked) -> Taken:
    """GET /processes/{id}/result, where the account has it (A-T12)."""
    if not desk.account.reads_processes:
        raise refuse(404, "unknown-path", "not found")
    asked.parameters(desk)
    if asked.id not in desk.book.processes:
        raise refuse(404, "unknown-process", "The Process was not found")
    return Taken(JsonAnswer(desk.book.processes[asked.id].result()))


def _judge_outbound(desk: Desk, outbound: Outbound, given: Mapping[str, str]) -> list[Mistake]:
    mistakes = []
    if outbound.status != "APPROVED":
        mistakes.append(Mistake("not-approved", "outbound is not approved", "outbound_id"))
    flow = given.get("flow_id")
    if flow is None and not outbound.is_notification:
        mistakes.append(Mistake("missing-flow", "flow_id is required", "flow_id"))
    if flow is not None and flow.strip() and flow not in desk.book.flows:
        mistakes.append(Mistake("unknown-flow", "flow_id was not found", "flow_id"))
    variables = [f"{form.VARIABLE}{name}" for name in outbound.variables]
    mistakes += [Mistake("missing-variable", f"{name} is required", name) for name in variables if name not in given]
    mistakes += [
        Mistake("unknown-variable", f"{name} is not a variable of this outbound", name)
        for name in given
        if name.startswith(form.VARIABLE) and name not in variables
    ]
    return mistakes


def _started(desk: Desk, session: Session, flow_id: str | None) -> JsonAnswer:
    whom = f"+{session.number}"
    answer: JsonObject = {
        "user_phone_number": whom,
        "message": f"conversation started with {whom}",
        "session_id": session.id,
        "outbound_message": session.outbound.shown(desk.book.client_id),
    }
    if flow_id is not None:
        answer["flow_id"] = flow_id
    return JsonAnswer(answer, desk.account.success_status)
