"""A strict simulator of Meta's WhatsApp Cloud API with Flows, at ``/meta/{version}/…``.

An account in the settings file, ``accounts.meta[]``, is one access token with one WhatsApp Business Account::

    accounts:
      meta:
        - name: meta
          token: sandbox-meta-token
          app_secret: sandbox-meta-app-secret       # signs the webhooks
          verify_token: sandbox-meta-verify-token   # for the handshake, which the control API begins
          waba_id: "102290000000001"
          webhook_url: http://127.0.0.1:8080/webhooks/meta/meta
          lines:
            - {phone_number_id: "106540000000001", display_number: "15550100000"}
          flows:
            - {id: "900000000000001", name: intake_flow, screens: [WELCOME_SCREEN], collects: [available]}
          templates:
            - {id: "1689550000000001", name: intake_v1, body: "Hi {{1}}", flow_id: "900000000000001"}

Everything else has a default and stands in ``sandbox.meta.settings``. What happens without a request of the client is
scripted under ``/control/meta``. Faults name the provider ``meta`` and the operations ``message-send``,
``template-create``, ``template-list``, ``template-read``, ``template-edit``, ``template-delete``; deliveries are called
``webhook:statuses:sent``, ``webhook:messages:nfm_reply``, ``webhook:template:PAUSED`` and so on, ``webhook:batch`` for
a batch.
"""
