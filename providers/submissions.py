"""What every provider's submission of a template has in common: faults that keep it here, and a name that is taken."""

from collections.abc import Awaitable, Iterable

from domain.errors import NotSent, OutcomeUnknown, ProviderRejected, Scope
from domain.sends import TemplateReading
from domain.templates import Fault


def refuse_faults(faults: Iterable[Fault], account: str) -> None:
    """Raise ``ProviderRejected`` with every fault. Nothing was sent."""
    told = [f"{'.'.join(map(str, fault.place))}: {fault.text}" for fault in faults]
    if told:
        text = f"account {account}: create a template: not sent: {'; '.join(told)}"
        raise ProviderRejected(text, scope=Scope.TEMPLATE, code="faulty-specification")


async def taken_up(refused: ProviderRejected, existing: Awaitable[TemplateReading | None]) -> TemplateReading:
    """The template that has the name already: an earlier submission arrived, or a person was faster.

    Raises ``OutcomeUnknown`` when it cannot be shown: it is there, and nobody can say yet how it stands.
    """
    why = "it is not listed yet"
    try:
        found = await existing
    except NotSent as error:
        found, why = None, f"looking at it failed: {error}"
    if found is None:
        text = f"{refused}; the provider has this name in this language already, but {why}"
        raise OutcomeUnknown(text, scope=Scope.TEMPLATE, code=refused.code, request_id=refused.request_id)
    return found
