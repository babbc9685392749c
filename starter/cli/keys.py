"""The commands ``keys list`` and ``keys rewrap``: what each master key still holds, and how it is let go."""

import asyncio
from collections import Counter

import typer
from rich.table import Table
from rich.text import Text

from domain.model import Model
from runtime.processes import key_ring
from runtime.settings import Settings, load_settings
from starter.cli import output
from starter.cli.errors import EPILOG
from starter.cli.output import Json
from store.candidate_keys import DataKeys
from store.resealing import PLACES, Resealing
from store.stores import Stores

app = typer.Typer(help="Master keys and what hangs on them.", epilog=EPILOG, no_args_is_help=True, add_completion=False)


class HeldKeys(Model):
    """What one master key holds. ``place`` is a kind of data key or a column; no master key: destroyed."""

    master: str
    current: bool
    place: str
    count: int


@app.callback()
def _group() -> None:
    """Master keys and what hangs on them."""


@app.command("list", epilog=EPILOG)
def list_keys(*, as_json: Json = False) -> None:
    """Say what each master key holds. One that holds nothing may be taken out of RAPPORT_KEYS__FORMER."""
    settings = load_settings()
    found = asyncio.run(_held(settings))
    output.print_json(found) if as_json else _print(found)


@app.command(epilog=EPILOG)
def rewrap() -> None:
    """Put everything in the store under the current master key; may be stopped and run again.

    Histories stay as they are: what sealed them is wrapped again, not they. Those that releases before data keys
    wrote need the master key of their time until they are gone.
    """
    done = asyncio.run(rewrapped(load_settings()))
    for place, count in done.items():
        output.screen().print(Text(f"{place}: {count}", style="green" if count else "dim"))


async def _held(settings: Settings) -> list[HeldKeys]:
    ring = key_ring(settings)
    async with Stores.open(settings.store_url.get_secret_value(), ring) as stores:
        wrapped = await DataKeys(stores.database, ring).counts()
        sealed = await Resealing(stores.database, ring).counts()
    rows = [(one.master_id, f"data keys: {one.kind.value}", one.count) for one in wrapped]
    rows += [(master, place, count) for place, counts in sealed.items() for master, count in counts.items()]
    return [
        HeldKeys(master=master, current=master == ring.current_id, place=place, count=count)
        for master, place, count in sorted(rows)
    ]


async def rewrapped(settings: Settings) -> Counter[str]:
    """What ``keys rewrap`` does; how many of each kind it did."""
    ring, done = key_ring(settings), Counter[str]()
    async with Stores.open(settings.store_url.get_secret_value(), ring) as stores:
        keys, rows = DataKeys(stores.database, ring), Resealing(stores.database, ring)
        while count := await keys.rewrap():
            done["data keys"] += count
            _progress(done)
        for place in PLACES:
            while count := await rows.reseal(place):
                done[place.name] += count
                _progress(done)
    return done or Counter({"nothing was under a former master key": 0})


def _progress(done: Counter[str]) -> None:
    typer.echo(f"  {sum(done.values())} under the current key", err=True)


def _print(found: list[HeldKeys]) -> None:
    table = Table("master key", "holds", "how many")
    for one in found:
        name = f"{one.master} (current)" if one.current else one.master or "(destroyed)"
        table.add_row(name, one.place, str(one.count))
    output.screen().print(table if found else Text("nothing is sealed yet", style="dim"))
