"""The providers that carry our messages: one folder each, and the registry that knows them by name."""
