"""A template specification as Recrubo takes it, and everything for which Recrubo would refuse it.

Texts only: there is no button, and variables have numbers. Recrubo: Message templates.
"""

from domain.model import JsonValue
from domain.templates import Fault, TemplateCategory, TemplateSpecification
from providers.recrubo.provisioning import TemplateText, template_attributes

CATEGORIES = {
    TemplateCategory.MARKETING: "MARKETING",
    TemplateCategory.UTILITY: "UTILITY",
    TemplateCategory.AUTHENTICATION: "Authorization",
}
"""Recrubo's words; the last one is spelt as its page has it."""


def faults_in(spec: TemplateSpecification) -> tuple[Fault, ...]:
    """Everything for which Recrubo would refuse a specification that is right by WhatsApp's own rules."""
    found = []
    if spec.buttons:
        text = "Recrubo's templates have no buttons: leave them out, the candidate answers by writing"
        found.append(Fault(("buttons",), text))
    if spec.is_named:
        text = "Recrubo's variables have numbers: write {{1}}, {{2}} … in place of names"
        found.append(Fault(("body",), text))
    return tuple(found)


def attributes_of(spec: TemplateSpecification) -> dict[str, JsonValue]:
    """The attributes of a creation, out of a specification without faults."""
    return template_attributes(
        TemplateText(
            template=spec.reference,
            category=CATEGORIES[spec.category],
            body=spec.body,
            header=spec.header,
            footer=spec.footer,
            examples=spec.samples,
        )
    )
