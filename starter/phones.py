"""Phone numbers as people write them, and references that are really phone numbers."""

import phonenumbers
from phonenumbers import PhoneNumberFormat, ValidationResult

from domain.model import E164

_SHORTEST_TELLING = 7
"""Fewer digits than this name nobody, so a reference may hold them."""

_WHY_NOT = {
    ValidationResult.TOO_SHORT: "too short for its country",
    ValidationResult.TOO_LONG: "too long for its country",
    ValidationResult.INVALID_COUNTRY_CODE: "no such country code",
    ValidationResult.INVALID_LENGTH: "no number of its country has this length",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "it lacks its area code",
}


def read_phone(text: str, region: str | None = None) -> E164:
    """The number in E.164 form. ``region`` (``NL``, ``BR`` …) reads numbers that are written without a country code.

    Only the country code and the length are checked: numbering plans grow faster than any table of them.
    Raises ``ValueError`` whose text says why, without the number.
    """
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException as error:
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE:
            if region is None and not text.strip().startswith("+"):
                raise ValueError("not a phone number with its country code (+31…): add it or name the region") from None
            raise ValueError("not a phone number: no such country code") from None
        raise ValueError("not a phone number") from None
    verdict = phonenumbers.is_possible_number_with_reason(number)
    if verdict != ValidationResult.IS_POSSIBLE:
        raise ValueError(f"not a phone number: {_WHY_NOT.get(verdict, 'impossible for its country')}")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def known_region(region: str) -> bool:
    """Whether phone numbers of this region (ISO 3166, two letters) can be read."""
    return region in phonenumbers.SUPPORTED_REGIONS


def country_of(phone: E164) -> str:
    """The country of a number as its ISO code (``NL``); empty for numbers of no country, as of satellites."""
    try:
        number = phonenumbers.parse(phone, None)
    except phonenumbers.NumberParseException:
        return ""
    told = phonenumbers.region_code_for_number(number)
    region: str = told or phonenumbers.region_code_for_country_code(number.country_code or 0)
    return region if known_region(region) else ""


def spells_phone(reference: str, phone: E164) -> bool:
    """Whether a reference gives the number away: with or without country code, zeros, dots, dashes or a prefix."""
    try:
        national = phonenumbers.national_significant_number(phonenumbers.parse(phone, None))
    except phonenumbers.NumberParseException:
        national = phone.removeprefix("+")
    digits = "".join(c for c in reference if c not in "._-")
    return len(national) >= _SHORTEST_TELLING and national in digits
