"""Time in the demo. The plans are those of ``examples/plans``; only here their waits become seconds."""

from datetime import timedelta

from domain.plans import Plan, Silence

SHORTEST = timedelta(seconds=6)
A_DAY = timedelta(seconds=1.5)
"""What each day of a wait adds, so that a longer wait stays the longer one."""


def paced(plan: Plan) -> Plan:
    """The plan with short waits, and without a send window: the demo runs at night as well."""
    return plan.model_copy(
        update={
            "follow_ups": tuple(one.model_copy(update={"after": _short(one.after)}) for one in plan.follow_ups),
            "silence": _silence(plan.silence),
            "send_window": None,
        }
    )


def _silence(silence: Silence) -> Silence:
    fallback = silence.fallback
    if fallback is not None:
        last = fallback.silence.model_copy(update={"after": _short(fallback.silence.after)})
        fallback = fallback.model_copy(update={"silence": last})
    return silence.model_copy(update={"after": _short(silence.after), "fallback": fallback})


def _short(wait: timedelta | None) -> timedelta | None:
    return None if wait is None else SHORTEST + A_DAY * (wait / timedelta(days=1))
