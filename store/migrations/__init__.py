"""The history of the schema, one file per step. Written once, never edited after a release."""

HEAD = "0010"
"""The newest step. Told here too, so that a process need not load all that migrates to see that nothing is to do."""
