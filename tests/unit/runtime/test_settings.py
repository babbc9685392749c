"""Settings come from the environment, and a wrong one is told by name and never by value."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from domain.errors import SetupError
from runtime.settings import LogFormat, Settings, load_settings, variable_names


def test_with_an_empty_environment_everything_serves_one_machine() -> None:
    settings = load_settings()

    assert settings.is_single_machine
    assert settings.store_url.get_secret_value() == f"sqlite:///{Path('.rapport/rapport.sqlite3').absolute()}"
    assert settings.gateway.webhook_host == settings.gateway.rest_host == settings.codec.host == "127.0.0.1"
    assert settings.worker.graceful_shutdown == timedelta(seconds=25)
    assert settings.worker.build_id is None


def test_every_section_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAPPORT_CONFIG", str(tmp_path / "rapport.yaml"))
    monkeypatch.setenv("RAPPORT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("RAPPORT_STORE__URL", "postgresql://u:p@db/rapport")
    monkeypatch.setenv("RAPPORT_KEYS__MASTER", "file:/run/secrets/master")
    monkeypatch.setenv("RAPPORT_GATEWAY__REST_PORT", "9000")
    monkeypatch.setenv("RAPPORT_WORKER__BUILD_ID", "abc123")
    monkeypatch.setenv("RAPPORT_WORKER__GRACEFUL_SHUTDOWN", "30s")
    monkeypatch.setenv("RAPPORT_METRICS__BIND", "127.0.0.1:9464")
    monkeypatch.setenv("RAPPORT_LOG__FORMAT", "json")

    settings = load_settings()

    assert settings.topology_path() == tmp_path / "rapport.yaml"
    assert not settings.is_single_machine
    assert settings.keys.master == SecretStr("file:/run/secrets/master")
    assert settings.gateway.rest_port == 9000
    assert settings.worker.build_id == "abc123"
    assert settings.worker.graceful_shutdown == timedelta(seconds=30)
    assert settings.metrics.bind == "127.0.0.1:9464"
    assert settings.log.format is LogFormat.JSON


def test_every_mistake_is_told_at_once_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "RAPPORT_GATEWAY__REST_PORT": "hunter2-port",
        "RAPPORT_STORE__URL": "mysql://hunter2",
        "RAPPORT_WORKER__GRACEFUL_SHUTDOWN": "hunter2-time",
        "RAPPORT_LOG__FORMAT": "hunter2-format",
        "RAPPORT_CODEC__OIDC_ISSUER": "https://hunter2:hunter2@example.org",
        "RAPPORT_KEYS__MASTRE": "hunter2-key",
        "RAPPORT_CODECS__PORT": "hunter2-codec",
        "RAPPORT_CONFG": "hunter2-config",
        "RAPPORT_STORE_URL": "hunter2-underscore",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SetupError) as refused:
        load_settings()

    text = str(refused.value)
    assert "hunter2" not in text
    assert [name for name in wrong if name not in text] == []
    assert "did you mean RAPPORT_KEYS__MASTER?" in text
    assert "did you mean RAPPORT_STORE__URL?" in text
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("value", ["0s", "500ms", "0.5s", "soon"])
def test_a_lease_that_nobody_could_renew_in_time_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RAPPORT_WORKER__LEASE", value)
    with pytest.raises(SetupError, match="RAPPORT_WORKER__LEASE"):
        load_settings()


@pytest.mark.parametrize("value", ["hunter2", '{"port": 1}', "{"])
def test_a_section_is_not_set_as_a_whole(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RAPPORT_CODEC", value)

    with pytest.raises(SetupError, match="RAPPORT_CODEC: set its parts one by one") as refused:
        load_settings()

    assert "hunter2" not in str(refused.value)


def test_a_secret_that_a_configuration_names_may_carry_our_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_RECRUBO_API_KEY", "hunter2")

    load_settings()


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_WORKER__BUILD_ID", "")

    assert load_settings().worker.build_id is None


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_STORE__URL", "postgresql://u:hunter2@db/rapport")
    monkeypatch.setenv("RAPPORT_KEYS__MASTER", "hunter2")
    monkeypatch.setenv("RAPPORT_KEYS__PEPPER", "hunter2")

    settings = load_settings()

    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_settings_are_frozen() -> None:
    settings = load_settings()

    with pytest.raises(ValidationError):
        settings.state_dir = Path("elsewhere")  # type: ignore[misc]  # what the test is about
    with pytest.raises(ValidationError):
        settings.log.format = LogFormat.JSON  # type: ignore[misc]  # what the test is about


def test_a_missing_configuration_is_told_with_the_variable_that_names_it() -> None:
    with pytest.raises(SetupError, match="RAPPORT_CONFIG"):
        load_settings().topology_path()


def test_the_names_of_all_variables_are_known() -> None:
    names = variable_names()

    assert {"RAPPORT_CONFIG", "RAPPORT_STATE_DIR", "RAPPORT_STORE__URL", "RAPPORT_LOG__LEVEL"} <= set(names)
    assert len(names) == len(set(names))
    assert all(name.split("__")[0].removeprefix("RAPPORT_").lower() in Settings.model_fields for name in names)
