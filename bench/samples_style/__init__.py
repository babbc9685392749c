"""The other side: the lifecycle as Temporal's samples would have it, for Recrubo.

One activity per provider call, one signal per webhook sent from the receiver while the provider waits, default sandbox
and worker options, pydantic payloads in the clear. It has no store: what Temporal has taken is kept. It is written to
be as quick as this shape allows, and does less than ours: no send ledger, no consent, no windows, no sealing.

Its engagements are called after their threads, so that a webhook tells at once which one it is about; the thread is
therefore opened before the engagement starts.
"""
