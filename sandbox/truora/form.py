"""The form of a send: strict reading of its fields, and the rules that need no book."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

import phonenumbers

from sandbox.truora.envelope import Mistake, refuse

MEDIA_TYPE = "application/x-www-form-urlencoded"
VARIABLE = "var."
_REQUIRED = ("phone_number", "country_code", "outbound_id", "user_authorized")
_OPTIONAL = ("flow_id",)
_ENCODED = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*")
_ACCOUNT_ID = re.compile(r"[a-zA-Z0-9_.-]+")
_NUMBER = re.compile(r"[1-9][0-9]{6,14}")


def fields(body: bytes) -> list[tuple[str, str]]:
    """The fields of a form in their order.

    Raises:
        Refused: 400, the body is not percent-encoded UTF-8 in ``name=value`` pairs.

    """
    broken = refuse(400, "form", "the body is not a form of name=value pairs in percent-encoded UTF-8")
    try:
        text = body.decode("ascii")
        if not _ENCODED.fullmatch(text):
            raise broken
        return parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict") if text else []
    except ValueError:  # UnicodeDecodeError is one
        raise broken from None


def judge(pairs: Sequence[tuple[str, str]], *, takes_account_id: bool, strict: bool) -> list[Mistake]:
    """Every mistake that shows without looking at an outbound."""
    given = dict(pairs)
    mistakes = _judge_names(pairs, takes_account_id=takes_account_id, strict=strict)
    mistakes += _judge_address(given)
    if given.get("user_authorized", "true") != "true":
        mistakes.append(Mistake("not-authorized", "user_authorized must be true", "user_authorized"))
    if takes_account_id and not _ACCOUNT_ID.fullmatch(given.get("account_id", "-")):
        mistakes.append(Mistake("account-id", "account_id takes a-z A-Z 0-9 _ . - only", "account_id"))
    return mistakes


def number(given: Mapping[str, str]) -> str:
    """The number that a form is about, digits with country code; not judged."""
    return "".join(re.findall(r"[0-9]", given.get("country_code", "") + given.get("phone_number", "")))


def _judge_names(pairs: Sequence[tuple[str, str]], *, takes_account_id: bool, strict: bool) -> list[Mistake]:
    names = [name for name, _ in pairs]
    known = (*_REQUIRED, *_OPTIONAL, *(("account_id",) if takes_account_id else ()))
    mistakes = [Mistake("missing-field", f"{name} is required", name) for name in _REQUIRED if name not in names]
    mistakes += [
        Mistake("repeated-field", f"{name} is given {names.count(name)} times", name)
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    mistakes += [
        Mistake("unknown-field", f"{name} is not a field of this request", name)
        for name in dict.fromkeys(names)
        if strict and name not in known and not name.startswith(VARIABLE)
    ]
    mistakes += [
        Mistake("empty-field", f"{name} must not be empty", name) for name, value in pairs if not value.strip()
    ]
    return mistakes


def _judge_address(given: Mapping[str, str]) -> list[Mistake]:
    code, phone = given.get("country_code", ""), given.get("phone_number", "")
    mistakes, code_fits = [], False
    if code.startswith(" "):
        detail = "country_code begins with a blank: a plus sign is written %2B in a form"
        mistakes.append(Mistake("country-code-blank", detail, "country_code"))
    elif code.strip():
        code_fits = bool(re.fullmatch(r"\+[1-9][0-9]{0,2}", code)) and (
            int(code) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE
        )
        if not code_fits:
            mistakes.append(Mistake("country-code", "country_code is not in the list", "country_code"))
    if not phone.strip():
        return mistakes
    if "+" in phone:
        mistakes.append(Mistake("phone-plus", "phone_number must not have a plus sign", "phone_number"))
    elif re.search(r"\s", phone):
        mistakes.append(Mistake("phone-blank", "phone_number must not have blanks", "phone_number"))
    elif not re.fullmatch(r"[0-9]+", phone):
        mistakes.append(Mistake("phone-digits", "phone_number must be digits", "phone_number"))
    elif code_fits:
        mistakes += _judge_number(code, phone)
    return mistakes


def _judge_number(code: str, phone: str) -> list[Mistake]:
    """Whether the two make one number, and the country code stands in its own field only."""
    if phone.startswith(code[1:]) and _is_whole(phone) and not _is_national(code, phone):
        return [Mistake("phone-country-code", "phone_number must not have the country code", "phone_number")]
    if not _NUMBER.fullmatch(f"{code[1:]}{phone}") or (phone.startswith("0") and not _is_national(code, phone)):
        return [Mistake("phone-number", "phone_number is not a number of this country", "phone_number")]
    return []


def _is_whole(digits: str) -> bool:
    """Whether the digits are a number with its country code already."""
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(f"+{digits}"))
    except phonenumbers.NumberParseException:
        return False


def _is_national(code: str, phone: str) -> bool:
    """Whether the digits are a valid number of the country as they stand, with no prefix to take away."""
    try:
        found = phonenumbers.parse(f"{code}{phone}")
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(found) and phonenumbers.national_significant_number(found) == phone
