"""The history of the schema, one file per step. Written once, never edited after a release."""
