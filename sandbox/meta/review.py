"""The life of a template after it was handed in: review, quality, pauses, the end. Every change is told."""

from typing import Literal

from sandbox.meta.book import Book, Template
from sandbox.meta.hooks import Change, Hooks, seconds
from sandbox.meta.settings import MetaAccount
from sandbox.values import JsonObject
from sandbox.world import World

HOUR = 3600.0
PAUSES = (("FIRST_PAUSE", 3), ("SECOND_PAUSE", 6))
"""Titles and hours of the pauses; the next one disables."""

Score = Literal["GREEN", "YELLOW", "RED", "UNKNOWN"]


class Review:
    """Meta's reviewers and its quality check."""

    def __init__(self, account: MetaAccount, book: Book, hooks: Hooks, world: World) -> None:
        self._account = account
        self._book = book
        self._hooks = hooks
        self._world = world

    def by_setting(self, template: Template) -> list[Change]:
        """The review that the account's settings foresee; nothing when somebody was faster."""
        if template.status != "PENDING" or template.id not in self._book.templates:
            return []
        rejected = self._account.review_status == "REJECTED"
        return self.judge(template, self._account.review_status, self._account.review_reason if rejected else "NONE")

    def judge(
        self, template: Template, status: str, reason: str | None = "NONE", more: JsonObject | None = None
    ) -> list[Change]:
        """Give a template another status; any word, since clients must survive unknown ones."""
        self._world.clock.cancel(template.unpause)
        template.unpause = None
        template.status, template.reason = status, reason or "NONE"
        return [self.event(template, status, reason, more)]

    def event(
        self, template: Template, event: str, reason: str | None = "NONE", more: JsonObject | None = None
    ) -> Change:
        """Tell something that leaves the status as it is, such as FLAGGED."""
        value: JsonObject = {"event": event, "reason": reason, "message_template_category": template.category}
        if template.status == "REJECTED" and not more:
            more = {"rejection_info": {"reason": "The template breaks a rule.", "recommendation": "Change the text."}}
        return self._hooks.template(
            template, "message_template_status_update", f"template:{event}", {**value, **(more or {})}
        )

    def pause(self, template: Template) -> list[Change]:
        """Pause for low quality: three hours, the second time six, then for good."""
        template.pauses += 1
        if template.pauses > len(PAUSES):
            disabled = seconds(self._world.clock.now())
            info: JsonObject = {"title": "DISABLED", "description": "Disabled for low quality."}
            more: JsonObject = {"disable_info": {"disable_date": disabled}, "other_info": info}
            return self.judge(template, "DISABLED", "NONE", more)
        title, hours = PAUSES[template.pauses - 1]
        changes = self.judge(template, "PAUSED", "NONE", _other(title, f"Paused for {hours} hours."))

        async def unpause() -> None:
            await self._hooks.tell(self.unpause(template))

        template.unpause = self._world.clock.schedule(hours * HOUR, unpause, lane=template.id)
        return changes

    def unpause(self, template: Template) -> list[Change]:
        """A pause is over: the template returns by itself."""
        if template.status != "PAUSED" or template.id not in self._book.templates:
            return []
        return self.judge(template, "APPROVED", "NONE", _other("UNPAUSE", "The pause is over."))

    def rate(self, template: Template, score: Score) -> list[Change]:
        """Another quality; RED pauses an approved template."""
        before, template.score = template.score, score
        more: JsonObject = {"previous_quality_score": before, "new_quality_score": score}
        told = self._hooks.template(template, "message_template_quality_update", f"quality:{score}", more)
        return [told, *(self.pause(template) if score == "RED" and template.status == "APPROVED" else ())]

    def recategorise(self, template: Template, category: str) -> list[Change]:
        """Meta puts a template into another category."""
        before, template.category = template.category, category
        more: JsonObject = {"previous_category": before, "new_category": category}
        return [self._hooks.template(template, "template_category_update", f"category:{category}", more)]


def _other(title: str, description: str) -> JsonObject:
    return {"other_info": {"title": title, "description": description}}
