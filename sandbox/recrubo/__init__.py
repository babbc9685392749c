"""A strict Recrubo (public API v2): threads, flow runs, templates, messages and webhooks, as its pages show them."""
