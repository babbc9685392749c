"""Durable logic: deterministic, sandboxed, without I/O and without any provider's name."""
