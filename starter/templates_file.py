"""Reads the folder of template specifications for people: mistakes in the words of every other file of ours."""

from pathlib import Path

from domain.topology import Topology
from runtime.template_files import TemplateFolder, load_templates
from starter.mistakes import findings


def check_templates(folder: Path, topology: Topology) -> TemplateFolder:
    """Every specification of a folder. Raises ``BadInput`` with every mistake; no provider is asked."""
    return load_templates(folder, topology, findings)
