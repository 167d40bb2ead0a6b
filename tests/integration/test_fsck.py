"""The log as the house serves it, under Tessera's unmodified fsck, which knows nothing of us."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.served import served
from tests.services import missing
from tests.walk_parties import Insurer, hand_in, until_logged

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fsck() -> str:
    """The program: built into build/bin, or on PATH. Only where Go is can it be asked for."""
    built = ROOT / "build" / "bin" / "fsck"
    found = str(built) if built.is_file() else _on_path()
    if found is None and shutil.which("go"):
        missing("Tessera's fsck (go install github.com/transparency-dev/tessera/cmd/fsck@v1.0.4)")
    if found is None:
        pytest.skip("Tessera's fsck and Go are missing on this machine")
    return found


def _on_path() -> str | None:
    """Find fsck on PATH; the system's own fsck, which checks disks, is another program."""
    found = shutil.which("fsck")
    return found if found and not found.startswith(("/sbin", "/usr/sbin", "/bin", "/usr/bin")) else None


async def complaint(fsck: str, url: str, vkey: Path) -> str | None:
    """Return what fsck says is wrong with a log; None if it has read all of it and found nothing.

    The program ends with 0 either way when it draws no screen; its log tells.
    """
    words = [fsck, "--ui=false", f"--storage_url={url}", f"--public_key={vkey}"]
    ended = await asyncio.to_thread(subprocess.run, words, check=False, capture_output=True, timeout=60)
    said = ended.stderr.decode()
    assert "checking log of size" in said, said
    return said if ended.returncode or "fsck failed" in said else None


async def test_fsck_passes_the_served_log_and_finds_one_flipped_byte(fsck: str, tmp_path: Path) -> None:
    vkey = tmp_path / "log.vkey"
    async with served(tmp_path / "data") as (gateway, parties):
        assert await gateway.start()
        claimed, insurer = await hand_in(parties), Insurer(parties)
        await insurer.decide(await insurer.review(claimed))
        await until_logged(parties, claimed, "claim.decided")
        log = next((gateway.data / "roles" / "audit" / "log").iterdir())
        url = f"{parties.sandbox.layout.base_url}/log/{log.name}/"
        async with parties.http() as client:
            vkey.write_text((await client.get(f"/log/{log.name}/vkey")).text.strip())

        as_served = await complaint(fsck, url, vkey)
        bundle = max((log / "tile" / "entries").rglob("*.p/*"), key=lambda path: int(path.name))
        raw = bytearray(bundle.read_bytes())
        raw[len(raw) // 2] ^= 1
        bundle.write_bytes(raw)
        with_a_flipped_byte = await complaint(fsck, url, vkey)

    assert as_served is None
    assert with_a_flipped_byte is not None
