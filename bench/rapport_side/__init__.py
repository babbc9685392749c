"""The happy path of an engagement on Rapport: its own processes, as they run in production."""
