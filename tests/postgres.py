"""A private PostgreSQL for tests: its own cluster in its own folder, reached by a socket there, gone afterwards."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url

START_SECONDS = 30.0
STOP_SECONDS = 20.0
_USER = "postgres"


def postgres_missing() -> str:
    """Why no PostgreSQL can be started here, in one line; empty when one can."""
    if _binaries() is None:
        return "PostgreSQL is not installed here (no initdb found), so this ran on SQLite only"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root and setpriv is not installed, so this ran on SQLite only"
    return ""


_QUICK = ("fsync=off", "full_page_writes=off", "shared_buffers=32MB")
_LASTING = ("shared_buffers=128MB",)


@contextmanager
def postgres_server(*, lasting: bool = False) -> Iterator[str]:
    """Start a server, yield its URL (``postgresql+psycopg://…``, superuser, database ``postgres``) and stop it.

    Nothing is flushed to disk: it survives the death of its clients, not that of the machine. One that is ``lasting``
    has each commit on the disk before it answers.
    """
    settings = ("listen_addresses=", "max_connections=200", *(_LASTING if lasting else _QUICK))
    options = [word for setting in settings for word in ("-c", setting)]
    binaries = _binaries()
    if binaries is None:
        raise RuntimeError(postgres_missing())
    with tempfile.TemporaryDirectory(prefix="rapport-pg-", dir="/tmp") as folder:  # a socket needs a short path
        home = Path(folder)
        if os.geteuid() == 0:
            account = pwd.getpwnam(_USER)
            os.chown(home, account.pw_uid, account.pw_gid)
        data = home / "data"
        made = subprocess.run(
            [*_as_postgres(), binaries / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"],
            capture_output=True,
            text=True,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            cwd=home,
            check=False,
        )
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stderr}")
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(
                [*_as_postgres(), binaries / "postgres", "-D", data, "-k", home, *options],
                stdout=log,
                stderr=log,
                env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
                cwd=home,
            )
        try:
            url = f"postgresql+psycopg://{_USER}@/postgres?host={home}"
            _wait_until_it_answers(server, url, home / "log")
            yield url
        finally:
            _stop(server)


@contextmanager
def fresh_database(server: str, template: str = "template1") -> Iterator[str]:
    """Make a database on a server and yield its URL; drop it at the end, whoever is still connected."""
    name = f"t_{uuid4().hex}"
    with psycopg.connect(conninfo(server), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield database_url(server, name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def database_url(server: str, name: str) -> str:
    """The URL of one database of a server."""
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[-3].zfill(4))
    return debian[-1].parent if debian else None


def _as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root. The server goes when this process goes, however it goes."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--init-groups", "--pdeathsig=INT", "--"]


def _wait_until_it_answers(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    limit = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(conninfo(url), connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            return


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: clients are disconnected
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def conninfo(url: str) -> str:
    """A URL of ours in the words of PostgreSQL's own library."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
