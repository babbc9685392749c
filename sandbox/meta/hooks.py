"""What Meta tells its customer: the changes of each kind, and how they travel, alone or several in one delivery."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import JsonValue

from sandbox.meta.book import Conversation, Flow, Message, Template
from sandbox.meta.errors import failure
from sandbox.meta.graph_json import signature, written
from sandbox.meta.settings import MetaAccount, MetaLine
from sandbox.values import JsonObject
from sandbox.webhooks import Event, Parcel
from sandbox.world import World

OBJECT = "whatsapp_business_account"
_CONVERSATION = timedelta(hours=24)


@dataclass(frozen=True)
class Change:
    """One element of ``changes[]``, fixed when it happens."""

    name: str
    """As faults and the control API call it."""
    about: str
    lane: str
    field: str
    value: JsonObject
    time: int | None = None
    """``entry.time``, a number; messages and statuses have timestamps of their own."""
    number: str | None = None
    thread: str | None = None


def seconds(instant: datetime) -> int:
    """An instant as Meta counts it."""
    return int(instant.timestamp())


class Hooks:
    """Makes changes of what happened, and deliveries of changes."""

    def __init__(self, account: MetaAccount, world: World) -> None:
        self._account = account
        self._world = world
        self.batch_seconds = account.batch_seconds
        self._waiting: list[Change] = []
        self._batches = 0

    # -- what happened

    def status(self, message: Message, word: str) -> Change:
        """A status of a message; ``biz_opaque_callback_data`` comes back here and nowhere else."""
        conversation, now = message.conversation, self._world.clock.now()
        told: JsonObject = {
            "id": message.id,
            "status": word,
            "timestamp": str(seconds(now)),
            "recipient_id": conversation.wa_id,
        }
        if message.reference is not None:
            told["biz_opaque_callback_data"] = message.reference
        if word == "failed" and message.failure is not None:
            told["errors"] = [failure(*message.failure)]
        if self._account.prices and word in ("sent", "delivered"):
            told |= self._price(message, word)
        return self._said(conversation, f"statuses:{word}", message.id, {"statuses": [told]})

    def inbound(self, conversation: Conversation, message: JsonObject, name: str, *, contact: bool = True) -> Change:
        """A message of a person, as its dictionary is; ``contact=False`` leaves ``contacts`` out."""
        value: JsonObject = {"contacts": [self._contact(conversation)]} if contact else {}
        value["messages"] = [message]
        return self._said(conversation, f"messages:{name}", str(message.get("id", "")), value)

    def preference(self, conversation: Conversation, wanted: str) -> Change:
        """Whether a person takes marketing."""
        preference: JsonObject = {
            "wa_id": conversation.wa_id,
            "detail": f"User requested to {wanted} marketing messages",
            "category": "marketing_messages",
            "value": wanted,
            "timestamp": seconds(self._world.clock.now()),
        }
        value: JsonObject = {"contacts": [self._contact(conversation)], "user_preferences": [preference]}
        change = self._said(conversation, f"user_preferences:{wanted}", conversation.lane, value)
        return replace(change, field="user_preferences")

    def template(self, template: Template, field: str, name: str, more: JsonObject) -> Change:
        """Something about a template, whose id is a number here."""
        named: JsonObject = {
            "message_template_id": int(template.id),
            "message_template_name": template.name,
            "message_template_language": template.language,
        }
        value: JsonObject = {**({"event": more["event"]} if "event" in more else {}), **named, **more}
        return self._about_things(field, name, template.id, value)

    def flow(self, flow: Flow, old: str) -> Change:
        """A Flow has another status."""
        value: JsonObject = {
            "event": "FLOW_STATUS_CHANGE",
            "flow_id": flow.of.id,
            "old_status": old,
            "new_status": flow.status,
            "message": "Flow changed status",
        }
        return self._about_things("flows", f"flows:{flow.status}", flow.of.id, value)

    def raw(self, field: str, value: JsonObject, time: int | None) -> Change:
        """A change of any kind, known to us or not."""
        return Change(f"raw:{field}", field, self._account.waba_id, field, value, time)

    # -- how it travels

    async def tell(self, changes: Sequence[Change]) -> None:
        """Deliver each alone, or let it wait for its batch."""
        if not self.batch_seconds:
            await self._world.webhooks.tell([self._event(change.name, [change]) for change in changes])
            return
        if changes and not self._waiting:
            self._world.clock.schedule(self.batch_seconds, self._deliver_batch, lane=self._account.waba_id)
        self._waiting += changes

    async def deliver_bytes(self, body: bytes, name: str) -> None:
        """Sign and deliver any bytes at all."""
        await self._world.webhooks.tell([self._signed(Change(name, name, name, "", {}), body)])

    async def _deliver_batch(self) -> None:
        changes, self._waiting = self._waiting, []
        if changes:
            self._batches += 1
            whole = replace(changes[0], about=f"batch-{self._batches}", lane=self._account.waba_id, number=None)
            await self._world.webhooks.tell([self._event("batch", changes, whole)])

    def _event(self, name: str, changes: Sequence[Change], told: Change | None = None) -> Event:
        body = written({"object": OBJECT, "entry": entries(self._account.waba_id, changes)})
        return self._signed(replace(told or changes[0], name=name), body)

    def _signed(self, change: Change, body: bytes) -> Event:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "facebookexternalua",
            "X-Hub-Signature-256": signature(self._account.app_secret.get_secret_value(), body),
        }
        return Event(
            provider="meta",
            account=self._account.name,
            name=change.name,
            about=change.about,
            lane=change.lane,
            url=self._account.webhook_url,
            pack=lambda copy: Parcel(f"{change.about}:{change.name}:{copy}", body, headers),
            retry_delays=self._account.retry_delays,
            retries_keep_id=True,
            number=change.number,
            thread=change.thread,
            acknowledged=lambda status: status == 200,
        )

    # -- parts

    def _said(self, conversation: Conversation, name: str, about: str, value: JsonObject) -> Change:
        head: JsonObject = {"messaging_product": "whatsapp", "metadata": _metadata(conversation.line)}
        return Change(
            name=name,
            about=about,
            lane=conversation.lane,
            field="messages",
            value={**head, **value},
            number=conversation.number,
            thread=conversation.lane,
        )

    def _about_things(self, field: str, name: str, about: str, value: JsonObject) -> Change:
        return Change(name, about, about, field, value, seconds(self._world.clock.now()))

    def _contact(self, conversation: Conversation) -> JsonObject:
        return {"profile": {"name": self._account.profile_name}, "wa_id": conversation.wa_id}

    def _price(self, message: Message, word: str) -> JsonObject:
        category = message.category.lower()
        price: JsonObject = {"billable": True, "pricing_model": "PMP", "category": category}
        if word != "sent":
            return {"pricing": price}
        expires = str(seconds(self._world.clock.now() + _CONVERSATION))
        conversation: JsonObject = {
            "id": self._world.mint.id("meta", "conversation", message.id).replace("-", ""),
            "expiration_timestamp": expires,
            "origin": {"type": category},
        }
        return {"conversation": conversation, "pricing": price}


def entries(waba_id: str, changes: Sequence[Change]) -> list[JsonValue]:
    """Changes as ``entry[]``: those with the same ``time`` share an entry, neighbours of one kind share a change."""
    found: list[JsonValue] = []
    times: list[int | None] = []
    for change in changes:
        if not times or times[-1] != change.time:
            time: JsonObject = {} if change.time is None else {"time": change.time}
            found.append({"id": waba_id, **time, "changes": []})
            times.append(change.time)
        entry = found[-1]
        listed = entry["changes"] if isinstance(entry, dict) else None
        if isinstance(listed, list):
            _add(listed, change)
    return found


def _add(listed: list[JsonValue], change: Change) -> None:
    last = listed[-1] if listed else None
    if isinstance(last, dict) and last["field"] == change.field == "messages":
        value, more = last["value"], change.value
        if isinstance(value, dict) and value.keys() == more.keys() and _heads(value) == _heads(more):
            for array in ("statuses", "messages"):
                mine, theirs = value.get(array), more.get(array)
                if isinstance(mine, list) and isinstance(theirs, list):
                    value[array] = [*mine, *theirs]
            return
    listed.append({"value": dict(change.value), "field": change.field})


def _heads(value: JsonObject) -> list[JsonValue]:
    return [value.get(name) for name in ("messaging_product", "metadata", "contacts")]


def _metadata(line: MetaLine) -> JsonObject:
    return {"display_phone_number": line.display_number, "phone_number_id": line.phone_number_id}
