"""Start and operate engagements: service functions, the CLI and the REST routes."""
