"""compose.yaml as its users rely on it: valid, pinned, unprivileged, without a password in it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.sandbox.services import PORTS
from gateway.sandbox.trust import ROLES
from tests.compose import FILE, ROOT, ours, read_compose

COMPOSE = read_compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = sorted(SERVICES.keys() - {"setup", "topics", "prometheus"})
PINNED = re.compile(r"[a-z/-]+:v?[0-9]+(\.[0-9]+)+(-[a-z0-9-]+)?")


def test_the_file_is_what_the_compose_specification_allows() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [str(checker), "--builtin-schema", "vendor.compose-spec", str(FILE)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_every_role_the_bank_and_two_witnesses_are_services() -> None:
    assert {*ROLES, "bank", "setup", "topics"} == ours(COMPOSE).keys()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned_and_nothing_gains_privileges(name: str) -> None:
    service = SERVICES[name]

    assert PINNED.fullmatch(service["image"])
    assert "privileged" not in service
    if name != "setup":
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])


@pytest.mark.parametrize("name", sorted(ours(COMPOSE)))
def test_our_services_run_as_an_ordinary_user(name: str) -> None:
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", SERVICES[name]["user"])


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_has_a_health_check_and_time_to_end(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 25


def test_no_password_stands_in_the_file_and_every_secret_is_a_file_of_the_trial() -> None:
    names = [name for service in SERVICES.values() for name in service.get("environment", {})]
    assert [name for name in names if "PASSWORD" in name] == ["POSTGRES_PASSWORD_FILE"]
    assert all(secret["file"].startswith("./trial/") for secret in COMPOSE["secrets"].values())


def test_ports_are_published_on_loopback_only_and_are_those_of_the_profiles() -> None:
    published = {name: port for name, service in SERVICES.items() for port in service.get("ports", ())}

    assert all(port.startswith("127.0.0.1:") for port in published.values())
    assert {name: int(published[name].split(":")[1]) for name in PORTS} == PORTS


def test_what_must_outlive_a_container_is_on_a_volume() -> None:
    assert "kafka-data:/var/lib/kafka/data" in SERVICES["kafka"]["volumes"]
    assert "postgres-data:/var/lib/postgresql/data" in SERVICES["postgres"]["volumes"]


def test_prometheus_asks_every_role_and_has_the_alarms() -> None:
    config = yaml.safe_load((ROOT / "docs" / "operating" / "alarms" / "prometheus.yaml").read_text(encoding="utf-8"))
    targets = [job["static_configs"][0]["targets"] for job in config["scrape_configs"]]

    assert sorted(targets) == sorted([f"{name}:{PORTS[name]}"] for name in ROLES)
    assert config["rule_files"] == ["rules.yaml"]


def test_the_image_is_built_from_hashes_and_runs_unprivileged() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()

    assert all(PINNED.fullmatch(line.split()[1]) for line in lines if line.startswith("FROM"))
    assert any("--require-hashes -r requirements.lock" in line for line in lines)
    assert "USER 1000:1000" in lines
