"""What our own rows say of templates, so that an activity which runs anyway can answer that too."""

from datetime import timedelta

from temporalio import activity

from activities.scopes import logical_now
from domain.calls import TemplateQuestion
from domain.errors import StoreUnavailable
from domain.ports import TemplateStates
from domain.sends import TemplateReading

TEMPLATE_FRESH = timedelta(hours=1)
"""A reading of this age still counts. Webhooks make it stale at once, and each claim looks at that: age is only for
what no webhook told. One that says to wait counts without end: the gate looks for all who wait."""


async def known_template(templates: TemplateStates, question: TemplateQuestion | None) -> TemplateReading | None:
    """How the template stands where our own row says that it may leave; None where the provider is to be asked."""
    if question is None:
        return None
    try:
        known = await templates.read(question.account, question.template)
    except StoreUnavailable:  # whoever needs it asks again, and waits there
        activity.logger.warning("template_not_read", extra={"account": question.account})
        return None
    if known is None:
        return None
    reading, read_at = known
    if not reading.template_status.sends or logical_now(question.at) - read_at > TEMPLATE_FRESH:
        return None
    return reading.model_copy(update={"read_at": read_at})
