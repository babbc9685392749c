"""Crashes the whole product on purpose, and lets the candidates' phones judge what became of every engagement."""
