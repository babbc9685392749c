"""Bases of every model, and the types that many models share."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, StringConstraints
from pydantic import JsonValue as PydanticJson


class Model(BaseModel):
    """A frozen value. Unknown members are ignored: providers and newer releases of ours may send more than we know."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Written(BaseModel):
    """A frozen value that a person wrote. A member that we do not know is a mistake and is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


Place = tuple[int | str, ...]
"""A path into what a person wrote, as in ``("follow_ups", 0, "after")``."""

Findings = Iterator[tuple[Place, str]]
"""What is wrong in something of right shape: where, and what to do about it."""


class Contradictions(ValueError):
    """What a person wrote has the right shape and does not make sense. Carries every finding with its place."""

    def __init__(self, findings: Iterable[tuple[Place, str]]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(": ".join(filter(None, (_joined(at), text))) for at, text in self.findings))


def _joined(place: Place) -> str:
    return ".".join(str(part) for part in place)


def refuse(findings: Iterable[tuple[Place, str]]) -> None:
    """Raise ``Contradictions`` when there is any finding."""
    found = tuple(findings)
    if found:
        raise Contradictions(found)


_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(value: object) -> object:
    """Read ``2d``, ``36h``, ``1d12h``, ``90m`` or ``30s``; whatever else is left to pydantic (ISO 8601)."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if found is None or not any(found.groups()):
        return value
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


def _to_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Duration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_positive)]
"""A positive length of time, written as ``2d``, ``36h``, ``90m``, ``30s`` or ISO 8601."""

Instant = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""An aware instant, kept in UTC."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]
"""The name of a tenant, account or line: readable everywhere, so never a number or a person's name."""

Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
"""The caller's own key of an engagement, unique within its tenant."""

E164 = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")]
"""A phone number in E.164 form with its plus sign."""

JsonValue = PydanticJson
"""A value as JSON knows it; what candidates answer is made of these. (Pydantic builds only a named recursive type.)"""
