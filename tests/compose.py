"""Reads compose.yaml as Compose does, as far as this project uses it; runs its services without containers."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.children import start_child

ROOT = Path(__file__).parents[1]
FILE = ROOT / "compose.yaml"
IMAGE = "claims-gateway:0.1.0"
VARIABLE = re.compile(r"\$(?:\$|\{([A-Z_]+)(?::-([^}]*))?\})")
GATEWAY = (sys.executable, "-P", "-m", "gateway")
"""The image's entry point; `-P`, since a container's file system has a folder of that name."""
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
"""What a process of ours keeps of this machine's environment; a container has as much."""


def read_compose(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the file with `${NAME:-default}` and `$$` resolved in every value."""
    found: dict[str, Any] = _resolved(yaml.safe_load(FILE.read_text(encoding="utf-8")), variables or {})
    return found


def _resolved(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _resolved(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_resolved(value, variables) for value in node]
    if isinstance(node, str):
        return VARIABLE.sub(lambda match: _value(match, variables), node)
    return node


def _value(match: "re.Match[str]", variables: Mapping[str, str]) -> str:
    if match[1] is None:
        return "$"
    return variables.get(match[1]) or match[2] or ""


@dataclass
class Rehearsed:
    """One of our services as a local process: its own command and environment, and nothing but what it mounts.

    `root` stands for its container's file system. A read-only mount is a copy; a writable one is moved here and linked
    from where it was, so that a path with `..` cannot leave the container.
    """

    name: str
    service: Mapping[str, Any]
    project: Path
    root: Path
    targets: list[str] = field(default_factory=list)

    def mount(self) -> None:
        for volume in self.service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            self.targets.append(target)
            here, there = self.project / source, self.root / target.lstrip("/")
            there.parent.mkdir(parents=True, exist_ok=True)
            if mode == ["ro"]:
                (shutil.copytree if here.is_dir() else shutil.copy2)(here, there)
            else:
                here.rename(there)
                here.symlink_to(there)

    def words(self, command: Sequence[str]) -> list[str]:
        """Translate a command's paths into this container's file system."""
        inside = tuple({f"/{target.split('/')[1]}" for target in self.targets})
        return [str(self.root / word.lstrip("/")) if word.startswith(inside) else word for word in command]

    @property
    def environment(self) -> dict[str, str]:
        ours = {name: os.environ[name] for name in KEPT if name in os.environ}  # noqa: TID251 as a container would
        return ours | dict(self.service.get("environment", {}))

    def command(self) -> list[str]:
        return [*GATEWAY, *self.words(self.service["command"])]

    def start(self, log: Path) -> "subprocess.Popen[bytes]":
        return start_child(self.command(), log, self.environment, self.root)

    def run(self, within_s: float) -> None:
        """Run a service that ends by itself; it must end well."""
        done = subprocess.run(
            self.command(), capture_output=True, env=self.environment, cwd=self.root, timeout=within_s, check=False
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]

    def healthy(self) -> bool:
        """Run the service's own health check once."""
        kind, program, *words = self.service["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "gateway")
        check = [*GATEWAY, *words]
        return subprocess.run(check, capture_output=True, env=self.environment, timeout=30, check=False).returncode == 0


def ours(compose: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: service for name, service in compose["services"].items() if service["image"] == IMAGE}
