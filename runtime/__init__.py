"""How our processes stand on the ground: settings, secrets, Temporal connection, dev server, logs and metrics."""
