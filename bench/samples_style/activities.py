"""One activity per provider call."""

from datetime import UTC, datetime

import httpx
from standardwebhooks.webhooks import Webhook as StandardWebhook
from temporalio import activity
from temporalio.exceptions import ApplicationError

from bench.samples_style.models import Candidacy, Outcome, Run

MEDIA_TYPE = "application/vnd.api+json"


class Calls:
    """The calls to one Recrubo organisation and to the recruiter's system."""

    def __init__(self, base_url: str, token: str, ats_url: str, ats_secret: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
        self._provider = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=20, trust_env=False)
        self._ats, self._ats_url = httpx.AsyncClient(timeout=20, trust_env=False), ats_url
        self._signer = StandardWebhook(ats_secret)

    async def close(self) -> None:
        """Give back connections."""
        await self._provider.aclose()
        await self._ats.aclose()

    @activity.defn
    async def template_status(self, template_id: str) -> str:
        """How the template stands."""
        answer = await self._provider.get(f"/message-templates/{template_id}")
        return str(_data(answer)["attributes"]["status"])

    @activity.defn
    async def trigger_flow(self, candidacy: Candidacy) -> str:
        """Start the flow; returns the run's id."""
        parameters = [{"type": "text", "text": candidacy.first_name}]
        components = [{"type": "body", "parameters": parameters}]
        attributes = {
            "flowId": candidacy.flow_id,
            "messageThreadId": candidacy.thread_id,
            "state": {"clientReference": candidacy.reference},
            "initialMessage": {
                "type": "template",
                "template": {"id": candidacy.template_id, "components": components},
            },
        }
        answer = await self._provider.post("/flow-runs", json={"data": {"type": "flowRuns", "attributes": attributes}})
        return str(_data(answer)["id"])

    @activity.defn
    async def read_run(self, run_id: str) -> Run:
        """How the run stands, answers included."""
        data = _data(await self._provider.get(f"/flow-runs/{run_id}"))
        return Run.model_validate({**data["attributes"], "id": run_id})

    @activity.defn
    async def tell_ats(self, outcome: Outcome) -> None:
        """Tell the recruiter's system."""
        body, now, its_id = outcome.model_dump_json(), datetime.now(UTC), f"outcome-{outcome.reference}"
        headers = {
            "content-type": "application/json",
            "webhook-id": its_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(its_id, now, body),
        }
        (await self._ats.post(self._ats_url, content=body, headers=headers)).raise_for_status()

    async def open_thread(self, number: str) -> str:
        """The thread with this number. Before the engagement, so no activity."""
        attributes = {"channel": "whatsapp", "identifier": number}
        answer = await self._provider.post(
            "/message-threads", json={"data": {"type": "messageThreads", "attributes": attributes}}
        )
        return str(_data(answer)["id"])


def _data(answer: httpx.Response) -> dict[str, dict[str, object]]:
    if 400 <= answer.status_code < 500 and answer.status_code != 429:
        raise ApplicationError(f"refused: {answer.status_code}", non_retryable=True)
    answer.raise_for_status()
    data: dict[str, dict[str, object]] = answer.json()["data"]
    return data
