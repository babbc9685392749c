"""Types that all rooms of the sandbox share."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, JsonValue

JsonObject = dict[str, JsonValue]
"""A JSON object as a provider's page shows it."""

Instant = Annotated[AwareDatetime, AfterValidator(lambda value: value.astimezone(UTC))]
"""An aware instant in UTC."""


class Frozen(BaseModel):
    """A value that never changes and knows all its members."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def wall_clock() -> datetime:
    """The machine's own time, in UTC."""
    return datetime.now(UTC)
