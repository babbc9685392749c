"""``rapport demo``: everything on this machine, every end of an engagement, to watch and to look up afterwards."""

from starter.cli.demo.command import run_demo

__all__ = ["run_demo"]
