"""The form of a send, and what Truora would refuse of it, found before the call.

Each mistake names the field on the wire and repeats no value. Truora: Start Conversations via API.
"""

import re

import phonenumbers

from domain.model import E164
from domain.sends import Send, SendNames
from providers.http import FormBody
from providers.truora.settings import CountryCodeFormat, TruoraSettings

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_ACCOUNT_ID = re.compile(r"[a-zA-Z0-9_.-]+", re.ASCII)
_ID = re.compile(r"[^\s/?#\x00-\x1f\x7f\ud800-\udfff]+")


def split_number(address: E164, how: CountryCodeFormat) -> tuple[str, str] | None:
    """``country_code`` and ``phone_number`` of a number; None when its country is unknown.

    The rest is cut from the number as it is written, so that a leading zero of the national number stays.
    """
    try:
        number = phonenumbers.parse(address)
    except phonenumbers.NumberParseException:
        return None
    code = str(number.country_code)
    rest = address.removeprefix("+").removeprefix(code)
    match how:
        case CountryCodeFormat.PLUS_AND_DIGITS:
            written = f"+{code}"
        case CountryCodeFormat.DIGITS:
            written = code
        case CountryCodeFormat.REGION:
            written = phonenumbers.region_code_for_number(number) or ""
    return (written, rest) if written and rest else None


def form(send: Send, names: SendNames, flow_id: str, settings: TruoraSettings) -> FormBody:
    """The body of a send without mistakes; no ``flow_id`` for a notification."""
    country_code, phone_number = split_number(send.address, settings.country_code) or ("", "")
    flow = (("flow_id", flow_id),) if flow_id else ()
    reference = (("account_id", names.reference),) if settings.send_reference else ()
    return FormBody(
        (
            ("phone_number", phone_number),
            ("country_code", country_code),
            ("outbound_id", send.template.id),
            ("user_authorized", "true"),  # consent is checked at admission and at the claim of every send
            *flow,
            *reference,
            *((f"var.{name}", value) for name, value in send.parameters),
        )
    )


def mistakes_in(send: Send, names: SendNames, settings: TruoraSettings) -> list[str]:
    """Everything that is wrong with a send, whatever its flow."""
    wrong = outbound_id_mistakes(send.template.id)
    if split_number(send.address, settings.country_code) is None:
        wrong.append("country_code: the number belongs to no country that we know, so it cannot be split")
    if settings.send_reference and not _ACCOUNT_ID.fullmatch(names.reference):
        wrong.append("account_id: only letters, digits, dot, dash and underscore are allowed")
    return wrong + _variable_mistakes(send)


def outbound_id_mistakes(outbound_id: str) -> list[str]:
    """What is wrong with the id of an outbound."""
    if not outbound_id:
        return ["outbound_id: the plan names no template id; take the Outbound ID from Truora's dashboard"]
    return [] if _ID.fullmatch(outbound_id) else ["outbound_id: is no id: it has a blank, a slash or the like"]


def flow_id_mistakes(flow_id: str) -> list[str]:
    """What is wrong with the id of the flow that an outbound of type Flow starts."""
    if not flow_id:
        return ["flow_id: neither the plan nor the outbound names a flow; take the Flow ID from Truora's dashboard"]
    return [] if _ID.fullmatch(flow_id) else ["flow_id: is no id: it has a blank, a slash or the like"]


def _variable_mistakes(send: Send) -> list[str]:
    given = [name for name, _ in send.parameters]
    wrong = [f"var.{name}: has no value" for name in send.template.variables if name not in given]
    for n, (name, value) in enumerate(send.parameters):
        if not _NAME.fullmatch(name):
            wrong.append(f"var. number {n + 1}: its name is none that a variable can have")
        elif name in given[:n]:
            wrong.append(f"var.{name}: given twice")
        elif not value.strip():
            wrong.append(f"var.{name}: has no value")
        elif not _can_be_written(value):
            wrong.append(f"var.{name}: holds text that cannot be written")
    return wrong


def _can_be_written(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value
