"""Log lines: structlog and the standard library through one pipeline, JSON for machines, columns for people.

In workflows only ``workflow.logger``: it is silent on replay. Everywhere else ``structlog.get_logger()``.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import TextIO

import structlog
from structlog.types import EventDict, Processor
from temporalio import activity, workflow

from runtime.log_errors import tell_error
from runtime.log_masking import mask_event
from runtime.settings import LogFormat, LogLevel

_QUIET = ("httpx", "httpcore", "hpack", "asyncio", "uvicorn.access", "alembic")
"""They tell every request, addresses included, or every start of a migration that changes nothing: warnings only."""

AUDIT = "rapport.audit"
"""Where it is written who did what, and who looked."""

_CONTEXT = {
    "workflow_id": "workflow_id",
    "workflow_type": "workflow_type",
    "run_id": "run_id",
    "workflow_run_id": "run_id",
    "activity_type": "activity_type",
    "task_queue": "task_queue",
    "attempt": "attempt",
    "update_name": "update_name",
}
"""What we take over from Temporal's own context, under one name each."""


def configure_logging(
    log_format: LogFormat = LogFormat.AUTO, level: LogLevel = LogLevel.INFO, stream: TextIO | None = None
) -> None:
    """Set the process's logging up, replacing what was there; call it once, first thing in an entry point.

    uvicorn must be given ``log_config=None``, or it sets up its own.
    """
    out = sys.stderr if stream is None else stream
    as_console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_activity,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(shared, as_console=as_console, colors=as_console and out.isatty()))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.value.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(AUDIT).setLevel(logging.INFO)  # who did what is told at every level
    workflow.logger.workflow_info_on_message = False  # the fields say it
    activity.logger.activity_info_on_message = False


def _formatter(shared: list[Processor], *, as_console: bool, colors: bool) -> structlog.stdlib.ProcessorFormatter:
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
        if as_console
        else structlog.processors.JSONRenderer()
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _add_temporal],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            tell_error,  # without local variables and without words that are not ours, which hold people
            mask_event,
            renderer,
        ],
    )


def _add_activity(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Where a line comes from inside an activity, for loggers that know nothing of Temporal."""
    if activity.in_activity():
        info = activity.info()
        _take(
            event,
            {
                "workflow_id": info.workflow_id,
                "workflow_type": info.workflow_type,
                "run_id": info.workflow_run_id,
                "activity_type": info.activity_type,
                "task_queue": info.task_queue,
                "attempt": info.attempt,
            },
        )
    return event


def _add_temporal(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Copy what Temporal's own loggers put beside the message, and what the SDK's core says in fields."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord) and record.name == "asyncio":
        event["event"] = str(event["event"]).split("\n", 1)[0]  # below stands the task with the words of its error
    for name in ("temporal_workflow", "temporal_activity"):
        _take(event, getattr(record, name, None))
    core = getattr(record, "temporal_log", None)
    if core is not None:
        event["core_target"] = str(core.target)
        _take(event, core.fields)
        told = {str(key): value for key, value in core.fields.items() if key not in _CONTEXT}
        if told:
            event["core"] = told
    return event


def _take(event: MutableMapping[str, object], context: object) -> None:
    if isinstance(context, Mapping):
        for theirs, ours in _CONTEXT.items():
            value = context.get(theirs)
            if value:
                event.setdefault(ours, value)
