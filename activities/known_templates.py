"""What our own rows say of templates, so that an activity which runs anyway can answer that too."""

from temporalio import activity

from activities.scopes import logical_now
from domain.admission import may_leave_by
from domain.calls import TemplateQuestion
from domain.errors import StoreUnavailable
from domain.ports import TemplateStates
from domain.sends import TemplateReading


async def known_template(templates: TemplateStates, question: TemplateQuestion | None) -> TemplateReading | None:
    """How the template stands where our own row says that it may leave; None where the provider is to be asked."""
    if question is None:
        return None
    try:
        known = await templates.read(question.account, question.template)
    except StoreUnavailable:  # whoever needs it asks again, and waits there
        activity.logger.warning("template_not_read", extra={"account": question.account})
        return None
    return may_leave_by(known, logical_now(question.at))
