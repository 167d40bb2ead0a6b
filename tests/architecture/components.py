"""Every component that the tree holds, wired with nothing behind it: only to read what it subscribes to and offers."""

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from inspect import signature
from pathlib import Path

from gateway.runtime.component import Component

ROOT = Path(__file__).parents[2]
ROOMS = ("gateway", "adapters", "settlement", "audit")


class Nothing:
    """Stands for every dependency: any attribute or call of it is it again, and it is empty."""

    storage = bytes(range(32))
    """A key from which a room may derive others while it is wired."""

    def __getattr__(self, name: str) -> "Nothing":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> "Nothing":
        return self

    def __iter__(self) -> Iterator[object]:
        return iter(())


class Replica(Nothing):
    """The same for a role that is no authority: it reads releases instead of publishing them."""

    source = None


def names() -> list[str]:
    """Packages that have a `component.py`."""
    found = sorted(path for room in ROOMS for path in (ROOT / room).rglob("component.py"))
    return [".".join(path.relative_to(ROOT).parent.parts) for path in found if path.parent.name != "runtime"]


@cache
def components() -> Mapping[str, Component]:
    """Package name → component; a room that does not build fails here, aloud."""
    wired = {}
    for name in names():
        build = importlib.import_module(f"{name}.component").build
        wired[name] = build(Replica()) if signature(build).parameters else build()
    return wired
