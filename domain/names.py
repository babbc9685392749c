"""Registered names of workflows, activities, signals, updates and queries.

They stand in the histories of open engagements, so renaming a class or a function must not change them.
"""

# workflows
CANDIDATE_ENGAGEMENT = "candidate-engagement"
GATE = "gate"

# activities on the engagements queue: they touch only our own store
ADMIT_ENGAGEMENT = "admit-engagement"
RECORD_SEND = "record-send"
CLOSE_ENGAGEMENT = "close-engagement"
NOTIFY_ATS = "notify-ats"
JOIN_GATE = "join-gate"
LEAVE_GATE = "leave-gate"
RELEASE_WAITERS = "release-waiters"

# activities on a lookups queue: provider calls that send nothing
ENSURE_TEMPLATE_APPROVED = "ensure-template-approved"
OPEN_THREAD = "open-thread"
CHECK_FLOW_RUN = "check-flow-run"
RECONCILE_SEND = "reconcile-send"
END_CONVERSATION = "end-conversation"
READ_TEMPLATE = "read-template"
SUBMIT_TEMPLATE = "submit-template"

# activities on a sends queue: exactly one request that can make a message appear on a phone
TRIGGER_FLOW = "trigger-flow"
SEND_MESSAGE = "send-message"

# signals: facts, cannot be refused
PROVIDER_EVENTS = "provider-events"
CONTACT_CHANGED = "contact-changed"
CONTACT_FREE = "contact-free"
GATE_DECISION = "gate-decision"
JOIN = "join"
LEAVE = "leave"
TEMPLATE_STATUS = "template-status"

# updates: commands with actor and reason, may be refused
STOP = "stop"
ATS_STATUS = "ats-status"
HAND_OVER = "hand-over"
RESOLVE_SEND = "resolve-send"
RESEND = "resend"
PAUSE = "pause"
RESUME = "resume"
MARK_ANSWERED = "mark-answered"
MIGRATE_PLAN = "migrate-plan"
RELEASE = "release"
REJECT = "reject"
RECHECK = "recheck"
RESUBMIT = "resubmit"

# queries
SNAPSHOT = "snapshot"
MAY_MIGRATE = "may-migrate"

# types of ApplicationError: how a call ended, read by the workflow and by retry policies
PROVIDER_UNAVAILABLE = "ProviderUnavailable"
STORE_UNAVAILABLE = "StoreUnavailable"
PROVIDER_REJECTED = "ProviderRejected"
POLICY_REFUSED = "PolicyRefused"
OUTCOME_UNKNOWN = "OutcomeUnknown"
NOT_ALLOWED = "NotAllowed"
