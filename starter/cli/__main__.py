"""``python -m starter.cli`` is ``rapport``."""

from starter.cli import main

main()
