"""Strict simulators of the providers, with candidates that answer. Judges the client, so it shares no code with it."""
