import re
from dataclasses import fields
from pathlib import Path

import pytest

from gateway.runtime.bus.kafka_client import KafkaLimits
from gateway.runtime.bus.kafka_config import kafka_limits
from gateway.runtime.settings import RoleSettings, SettingsError, load_settings

GOOD = 'role = "hk"\nbase_url = "https://hub.example/hk"\n[extra]\nparty = "ins-harbour"\n'


def a_folder(tmp_path: Path, text: str = GOOD) -> Path:
    (tmp_path / "settings.toml").write_text(text)
    return tmp_path


def test_a_short_file_is_enough_and_paths_are_relative_to_its_folder(tmp_path: Path) -> None:
    settings = load_settings(a_folder(tmp_path, GOOD.replace("[extra]", 'keys = "private"\n[extra]')))

    assert settings.instance == "hk"
    assert settings.database_url == f"sqlite:///{tmp_path}/hk.db"
    assert settings.bus == f"embedded:{tmp_path}/bus.db"
    assert settings.keys == tmp_path / "private"
    assert settings.trust_file == tmp_path / "trust.json"
    assert settings.extra == {"party": "ins-harbour"}
    assert settings.outbox_rows_max == 100_000


def test_the_environment_goes_before_secret_files_and_these_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = a_folder(tmp_path, 'log_level = "error"\ndatabase_url = "sqlite:///file"\n' + GOOD)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "gateway_database_url").write_text("postgresql+asyncpg://gateway:secret@db/hk")
    (folder / "secrets" / "gateway_log_level").write_text("warning")
    monkeypatch.setenv("GATEWAY_LOG_LEVEL", "debug")

    settings = load_settings(folder)

    assert settings.log_level == "debug"
    assert settings.database_url == "postgresql+asyncpg://gateway:secret@db/hk"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('role = "desk"', "/role"),
        ("outbox_rows = 3", "/outbox_rows"),
        ("outbox_rows_max = 0", "/outbox_rows_max"),
        ('base_url = "https://hub.example/hk/"', "/base_url"),
        ('bus = "rabbit:host"', "/bus"),
        ('failpoint = "relay.after_lunch=kill"', "(field.value-error)"),
        ('failpoint = "relay.after_send=explode"', "/failpoint"),
        ('custody = "shared-s3cret"', "/custody"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not(tmp_path: Path, line: str, named: str) -> None:
    name = line.partition(" ")[0]
    rest = "\n".join(one for one in GOOD.splitlines() if not one.startswith(f"{name} "))

    with pytest.raises(SettingsError) as caught:
        load_settings(a_folder(tmp_path, f"{line}\n{rest}"))

    assert named in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_missing_or_no_toml_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is missing"):
        load_settings(tmp_path)

    with pytest.raises(SettingsError, match="is no TOML"):
        load_settings(a_folder(tmp_path, "role = hk"))


def test_settings_do_not_change_after_the_start(tmp_path: Path) -> None:
    settings = RoleSettings(folder=tmp_path, role="core")

    with pytest.raises(ValueError, match="frozen"):
        settings.role = "sz"  # type: ignore[misc] # what is tested


def _moved(settings: RoleSettings) -> set[str]:
    usual = kafka_limits(RoleSettings(folder=settings.folder, role="core"))
    changed = kafka_limits(settings)
    return {one.name for one in fields(KafkaLimits) if getattr(usual, one.name) != getattr(changed, one.name)}


def test_every_time_limit_of_kafkas_clients_is_a_setting(tmp_path: Path) -> None:
    names = [name for name in RoleSettings.model_fields if re.fullmatch(r"kafka_.*_s(_max)?", name)]

    moved = {
        name: _moved(RoleSettings.model_validate({"folder": tmp_path, "role": "core", name: 7.5})) for name in names
    }

    assert [name for name in names if not moved[name]] == []
    assert set().union(*moved.values()) == {one.name for one in fields(KafkaLimits)}


def test_limits_without_settings_are_the_usual_ones(tmp_path: Path) -> None:
    assert kafka_limits(RoleSettings(folder=tmp_path, role="core")) == KafkaLimits()
