"""One step of a plan on its way to the candidate."""

from collections.abc import Callable
from datetime import datetime

from domain.following import Objection
from domain.free_form import FreeForm
from domain.plans import FlowRef, TemplateRef


class Step:
    """What is to be sent, and until when it is worth sending: the template, or ``free_form`` in its place.

    ``objection`` is asked at the moment when it leaves: why it must not leave any more, None when it may. ``why`` says
    what made it due.
    """

    def __init__(
        self,
        name: str,
        template: TemplateRef,
        flow: FlowRef | None,
        expires: datetime,
        *,
        free_form: FreeForm | None = None,
        objection: Callable[[], Objection | None] = lambda: None,
        why: str = "",
    ) -> None:
        self.name, self.template, self.flow, self.expires = name, template, flow, expires
        self.free_form, self.objection, self.why = free_form, objection, why
