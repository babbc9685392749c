"""The configuration file: tenants, accounts, lines and tokens."""

from pathlib import Path

from domain.topology import Topology
from runtime.yaml_source import load_yaml_model


def load_topology(path: Path) -> Topology:
    """Read the file. Raises ``BadInput`` with every mistake, each with file, line and field."""
    return load_yaml_model(path, Topology)
