"""Activities of the tiny workflow: one answers and logs both ways, one fails."""

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError


@activity.defn(name="tiny-activity")
async def tiny_activity(word: str) -> str:
    activity.logger.info("activity_line")
    structlog.get_logger().info("activity_line_of_ours")
    return word + "-result"


@activity.defn(name="tiny-failure")
async def tiny_failure(word: str) -> str:
    raise ApplicationError(word + "-failure", word + "-detail", type="TinyFailure", non_retryable=True)
