"""What passes between receiver, workflow and activities."""

from datetime import timedelta

from pydantic import BaseModel

TASK_QUEUE = "samples-style"


class Candidacy(BaseModel):
    """Whom to engage, and by what."""

    reference: str
    first_name: str
    thread_id: str
    template_id: str
    flow_id: str
    silence: timedelta


class Webhook(BaseModel):
    """What the workflow needs of one webhook."""

    type: str
    event: str
    id: str
    status: str = ""


class Run(BaseModel):
    """A flow run as the provider tells it."""

    id: str
    status: str
    state: dict[str, object] = {}


class Outcome(BaseModel):
    """How it ended."""

    reference: str
    outcome: str
    answers: dict[str, object] = {}


def workflow_id(thread_id: str) -> str:
    """The engagement of a thread."""
    return f"samples-engagement-{thread_id}"
