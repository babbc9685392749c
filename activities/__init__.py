"""Thin: one class per concern, dependencies injected, each activity one effect."""
