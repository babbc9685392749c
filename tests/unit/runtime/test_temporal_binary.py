"""Where the dev server's program comes from: programs here are scripts that say a version."""

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from domain.errors import SetupError
from runtime.temporal_binary import cache_directory, find_temporal, server_version

GOOD = "temporal version 0.0.0-DEV (Server 1.32.1, UI 2.50.1)"
OLD = "temporal version 1.4.1 (Server 1.28.0, UI 2.39.0)"
ROOT = Path(__file__).resolve().parents[3]


def program(path: Path, says: str) -> Path:
    return script(path, f"echo '{says}'")


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def fake_go(path: Path, builds: str = GOOD, seconds: str = "0") -> Path:
    """Counts its runs and builds a program that says ``builds`` to wherever ``-o`` points."""
    return script(
        path,
        f"""echo run >> {path.parent}/go-runs
echo "$CGO_ENABLED $*" >> {path.parent}/go-words
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
sleep {seconds}
printf '#!/bin/sh\\necho "{builds}"\\n' > "$out"; chmod +x "$out" """,
    )


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH (but for the shell), an empty cache, a module of our own."""
    monkeypatch.delenv("TEMPORAL_CLI", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "go.mod").write_text("module x\n")
    (tmp_path / "module" / "go.sum").write_text("sums\n")
    return tmp_path


def find(places: Path, told: list[str] | None = None) -> Path:
    progress = (lambda _: None) if told is None else told.append
    return find_temporal(module=places / "module", download=False, progress=progress)


def test_the_named_program_wins_over_everything(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = program(places / "mine", GOOD)
    program(places / "bin" / "temporal", GOOD)
    monkeypatch.setenv("TEMPORAL_CLI", str(named))

    assert find(places) == named


@pytest.mark.parametrize("says", [OLD, "hello", None])
def test_a_named_program_that_does_not_fit_is_refused_not_passed_over(
    places: Path, monkeypatch: pytest.MonkeyPatch, says: str | None
) -> None:
    named = places / "mine"
    if says is not None:
        program(named, says)
    program(places / "bin" / "temporal", GOOD)
    monkeypatch.setenv("TEMPORAL_CLI", str(named))

    with pytest.raises(SetupError, match="TEMPORAL_CLI"):
        find(places)


def test_the_path_wins_over_the_cache(places: Path) -> None:
    program(cache_directory(places / "module") / "temporal", GOOD)
    on_path = program(places / "bin" / "temporal", GOOD)

    assert find(places) == on_path


def test_an_old_program_on_the_path_is_passed_over_for_the_cache(places: Path) -> None:
    program(places / "bin" / "temporal", OLD)
    cached = program(cache_directory(places / "module") / "temporal", GOOD)

    assert find(places) == cached


def test_the_cache_is_keyed_by_what_the_module_is_built_from(places: Path) -> None:
    digest = hashlib.sha256(b"sums\n").hexdigest()[:16]

    assert cache_directory(places / "module") == places / "cache" / "rapport" / f"temporal-{digest}"


def test_it_is_built_with_go_once_and_kept(places: Path) -> None:
    fake_go(places / "bin" / "go")
    told: list[str] = []

    built = find(places, told)
    again = find(places)

    assert built == again == cache_directory(places / "module") / "temporal"
    assert server_version(built) == (1, 32, 1)
    assert (places / "bin" / "go-runs").read_text() == "run\n"
    assert (places / "bin" / "go-words").read_text().startswith("0 build -trimpath -ldflags -s -w -o ")
    assert any("6 minutes" in line for line in told)
    assert sorted(path.name for path in built.parent.iterdir()) == ["lock", "temporal"]


def test_a_broken_program_in_the_cache_is_built_anew(places: Path) -> None:
    program(cache_directory(places / "module") / "temporal", "half of it")
    fake_go(places / "bin" / "go")

    assert server_version(find(places)) == (1, 32, 1)


def test_two_that_start_at_once_build_once(places: Path) -> None:
    fake_go(places / "bin" / "go", seconds="1")
    code = (
        "import sys; from pathlib import Path; from runtime.temporal_binary import find_temporal\n"
        "print(find_temporal(module=Path(sys.argv[1]), download=False))"
    )
    command = [sys.executable, "-c", code, str(places / "module")]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]

    answers = [process.communicate(timeout=60) for process in both]

    assert [process.returncode for process in both] == [0, 0], answers
    assert {out.strip() for out, _ in answers} == {str(cache_directory(places / "module") / "temporal")}
    assert (places / "bin" / "go-runs").read_text() == "run\n"


def test_what_a_killed_build_left_is_cleared_away(places: Path) -> None:
    left = cache_directory(places / "module") / "making-killed"
    left.mkdir(parents=True)
    (left / "temporal").write_text("half")
    fake_go(places / "bin" / "go")

    find(places)

    assert not left.exists()


def test_when_nothing_works_every_way_out_is_named(places: Path) -> None:
    program(places / "bin" / "temporal", OLD)
    script(places / "bin" / "go", "echo no such module >&2; exit 1")

    with pytest.raises(SetupError) as refused:
        find(places)

    text = str(refused.value)
    for part in ("holds server 1.28.0", "no such module", "TEMPORAL_CLI", "TEMPORAL_ADDRESS", "PATH", "Go 1.26"):
        assert part in text


def test_a_build_that_makes_an_old_server_is_not_kept(places: Path) -> None:
    fake_go(places / "bin" / "go", builds=OLD)

    with pytest.raises(SetupError, match=r"holds server 1\.28\.0"):
        find(places)

    assert not (cache_directory(places / "module") / "temporal").exists()


@pytest.mark.parametrize(
    ("says", "version"),
    [
        (GOOD, (1, 32, 1)),
        ("temporal version 1.9.1 (Server 1.33.10, UI 2.50.1)", (1, 33, 10)),
        ("temporal version 1.9.1 (server 1.33.10)", None),
        ("temporal version 1.33.0", None),
        ("", None),
    ],
)
def test_the_version_is_the_servers_not_the_programs(
    tmp_path: Path, says: str, version: tuple[int, int, int] | None
) -> None:
    assert server_version(program(tmp_path / "temporal", says)) == version


def test_a_file_that_cannot_be_run_has_no_version(tmp_path: Path) -> None:
    (tmp_path / "temporal").write_text("text")

    assert server_version(tmp_path / "temporal") is None
