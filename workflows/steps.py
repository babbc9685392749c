"""One step of a plan on its way to the candidate."""

from datetime import datetime

from domain.plans import FlowRef, TemplateRef


class Step:
    """What is to be sent, and until when it is worth sending."""

    def __init__(self, name: str, template: TemplateRef, flow: FlowRef | None, expires: datetime) -> None:
        self.name, self.template, self.flow, self.expires = name, template, flow, expires
