"""A provider of our own making for the tests of the gateway."""

from collections.abc import Mapping

from domain.errors import HandshakeRefused, WebhookRefused
from domain.events import ParsedDelivery, ProviderEvents

SECRET = "fake-webhook-secret"


class PlainReader:
    """A provider whose deliveries are our own events as JSON, and whose secret travels in a header."""

    def handshake(self, query: Mapping[str, str]) -> str | None:
        if query.get("token") != SECRET:
            raise HandshakeRefused("the token is wrong", 403)
        return query["challenge"]

    def verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        if headers.get("x-secret") != SECRET:
            raise WebhookRefused("the secret is wrong")

    def parse(self, body: bytes) -> ParsedDelivery:
        try:
            return ParsedDelivery(events=ProviderEvents.model_validate_json(body).events)
        except ValueError:
            return ParsedDelivery(quarantine="not JSON of ours")
