"""Secrets are read by reference; a missing one is told by its reference."""

import base64
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from domain.errors import SetupError
from domain.topology import AccessToken, Account, AtsTarget, Line, Role, Tenant, Topology
from runtime.secrets import load_keys, references, resolve, resolve_all
from runtime.settings import KeySettings, Settings, StoreSettings

ROOT = Path(__file__).resolve().parents[3]


def test_a_secret_comes_from_the_environment_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", " hunter2 ")

    assert resolve("env:SOME_SECRET").get_secret_value() == " hunter2 "


def test_a_secret_comes_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")

    assert resolve(f"file:{tmp_path / 'secret'}").get_secret_value() == "hunter2"


def test_every_secret_that_is_missing_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESENT", "hunter2")
    monkeypatch.setenv("EMPTY", "  ")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    refs = ["env:PRESENT", "env:ABSENT", "env:EMPTY", f"file:{tmp_path / 'none'}", f"file:{tmp_path / 'binary'}"]

    with pytest.raises(SetupError) as refused:
        resolve_all(refs)

    text = str(refused.value)
    assert [ref for ref in refs[1:] if ref not in text] == []
    assert "env:PRESENT" not in text
    assert "hunter2" not in text
    assert resolve_all(["env:PRESENT"]) == {"env:PRESENT": SecretStr("hunter2")}


def test_a_secret_written_where_its_reference_belongs_is_not_repeated() -> None:
    with pytest.raises(SetupError) as refused:
        resolve("hunter2")

    assert "hunter2" not in str(refused.value)


def test_every_reference_of_a_configuration_is_found() -> None:
    topology = Topology(
        tenants=(Tenant(slug="acme", ats=AtsTarget(url="https://ats.example", secret="env:ATS")),),
        accounts=(Account(slug="a", provider="recrubo", credential="env:KEY", webhook_secrets=("env:W1", "env:W2")),),
        lines=(Line(slug="l", account="a", tenants=("acme",)),),
        tokens=(AccessToken(name="t", tenant="acme", token="env:TOKEN", roles=frozenset({Role.READ})),),
    )

    assert references(topology) == ("env:ATS", "env:KEY", "env:W1", "env:W2", "env:TOKEN")


def settings(tmp_path: Path, keys: KeySettings | None = None, url: str | None = None) -> Settings:
    store = StoreSettings() if url is None else StoreSettings(url=SecretStr(url))
    return Settings(state_dir=tmp_path / "state", keys=keys or KeySettings(), store=store)


def test_keys_are_made_once_for_a_single_machine_and_for_nobody_else_to_read(tmp_path: Path) -> None:
    first, second = load_keys(settings(tmp_path)), load_keys(settings(tmp_path))

    assert first == second
    assert first.is_development
    assert len(first.master) == len(first.pepper) == 32
    assert first.master != first.pepper
    files = sorted((tmp_path / "state").iterdir())
    assert [file.name for file in files] == ["master.key", "pepper.key"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    code = (
        "from runtime.secrets import load_keys\nfrom runtime.settings import load_settings\n"
        "keys = load_keys(load_settings())\nprint((keys.master + keys.pepper).hex())"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "RAPPORT_STATE_DIR": str(tmp_path / "state")}
    together = [
        subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]

    said = [process.communicate(timeout=60)[0].splitlines()[-1] for process in together]

    assert len(said[0]) == 128
    assert said == [said[0]] * 3


def test_a_store_that_others_share_needs_keys_that_others_have(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="RAPPORT_KEYS__MASTER and RAPPORT_KEYS__PEPPER are not set"):
        load_keys(settings(tmp_path, url="postgresql://u:hunter2@db/rapport"))

    assert not (tmp_path / "state").exists()


def test_one_key_without_the_other_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="RAPPORT_KEYS__PEPPER is not set"):
        load_keys(settings(tmp_path, KeySettings(master=SecretStr("hunter2"))))


def test_keys_are_read_as_base64_hex_and_references(tmp_path: Path) -> None:
    master, pepper = bytes(range(32)), bytes(range(200, 232))
    (tmp_path / "master").write_text(base64.b64encode(master).decode() + "\n")
    for text in (
        pepper.hex(),
        base64.b64encode(pepper).decode(),
        base64.urlsafe_b64encode(pepper).decode().rstrip("="),
    ):
        given = KeySettings(master=SecretStr(f"file:{tmp_path / 'master'}"), pepper=SecretStr(text))

        keys = load_keys(settings(tmp_path, given))

        assert (keys.master, keys.pepper, keys.is_development) == (master, pepper, False)
        assert master.hex() not in repr(keys)
        assert repr(master) not in repr(keys)


@pytest.mark.parametrize("text", ["hunter2", "00" * 31, "!" * 44, base64.b64encode(bytes(33)).decode()])
def test_a_key_of_the_wrong_form_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    given = KeySettings(master=SecretStr(text), pepper=SecretStr("11" * 32))

    with pytest.raises(SetupError, match="RAPPORT_KEYS__MASTER: must be 32 bytes") as refused:
        load_keys(settings(tmp_path, given))

    assert text not in str(refused.value)


def test_a_key_comes_from_a_command_that_no_shell_reads(tmp_path: Path) -> None:
    service = tmp_path / "key service"
    service.write_text("import sys, base64; print(base64.b64encode(sys.argv[1].encode() * 32).decode())")
    asked = f"command:{sys.executable} '{service}'"
    keys = KeySettings(master=SecretStr(f"{asked} a"), former=SecretStr(f"{asked} b"), pepper=SecretStr(f"{asked} c"))

    loaded = load_keys(Settings(_env_file=None, state_dir=tmp_path, keys=keys))

    assert (loaded.master, loaded.former, loaded.pepper) == (b"a" * 32, (b"b" * 32,), b"c" * 32)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (f"{sys.executable} -c 'print(42); exit(3)'", "failed with 3"),
        ("/no/such/program hunter2", "cannot be run"),
        ("'hunter2", "cannot be run"),
        (f"{sys.executable} -c print(42)", "must be 32 bytes"),
    ],
)
def test_a_command_that_gives_no_key_is_told_without_its_words(tmp_path: Path, command: str, told: str) -> None:
    keys = KeySettings(master=SecretStr(f"command:{command}"), pepper=SecretStr("ab" * 32))

    with pytest.raises(SetupError, match=told) as refused:
        load_keys(Settings(_env_file=None, state_dir=tmp_path, keys=keys))

    assert "RAPPORT_KEYS__MASTER" in str(refused.value)
    assert not {"hunter2", "42", "print"} & set(re.findall(r"\w+", str(refused.value)))


def test_the_same_key_twice_is_refused(tmp_path: Path) -> None:
    given = KeySettings(master=SecretStr("11" * 32), pepper=SecretStr("11" * 32))

    with pytest.raises(SetupError, match="same key"):
        load_keys(settings(tmp_path, given))
