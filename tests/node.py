"""Node for the examples in JavaScript: found on the PATH or in the environment that `.ci/run` makes, else missing."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.services import missing

MAJOR_MIN = 20
ROOT = Path(__file__).parents[1]


def node_path() -> str:
    """Return a PATH on which `node` is 20 or later and `npm` is there too; skip the test aloud where none is."""
    own = os.environ["PATH"]  # noqa: TID251 the PATH of the test run
    for path in (own, f"{ROOT / 'build' / 'node' / 'bin'}{os.pathsep}{own}"):
        node = shutil.which("node", path=path)
        if node is not None and shutil.which("npm", path=path) is not None and _major(node) >= MAJOR_MIN:
            return path
    return missing(f"Node {MAJOR_MIN} or later with npm")


def _major(node: str) -> int:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.", answer)
    return 0 if version is None else int(version[1])
