"""The command ``migrate``."""

from rich.text import Text

from runtime.settings import load_settings
from starter.cli import output
from store.migrate import current, upgrade


def migrate() -> None:
    """Bring the store up to this release; none of it is lost, and a store that is up to date is left alone."""
    settings = load_settings()
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    url = settings.store_url.get_secret_value()
    before = current(url)
    upgrade(url)
    after = current(url)
    text = f"the store was up to date ({after})" if before == after else f"the store is at {after} now"
    output.screen().print(Text(text, style="green"))
