"""Shutdown, cancel, pause and reset must not tear a request that may have left."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")


async def unbroken(call: Coroutine[Any, Any, T], limit: timedelta | None = None) -> T:
    """Await ``call`` to its end whatever cancels us meanwhile. ``limit`` is a total; HTTP limits are per phase.

    Raises what ``call`` raises, and TimeoutError past the limit.
    """
    task = asyncio.ensure_future(asyncio.wait_for(call, limit.total_seconds() if limit else None))
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
        except Exception:  # noqa: BLE001 - told by task.result() below
            break
    return task.result()
