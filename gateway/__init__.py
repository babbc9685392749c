"""The door to providers: webhooks are verified, stored, answered, and their events carried into engagements."""
