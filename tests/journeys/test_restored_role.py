"""A role whose database alone is set back to an older backup: refused with a way out, resumed, and reported openly."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.served import Served, served
from tests.walk import Parties, verify_log
from tests.walk_parties import hand_in, until_logged

GATEWAY = (sys.executable, "-m", "gateway")
PERSONS = ("--operator", "op-gateway-1", "--confirmed-by", "op-gateway-2")
WHY = ("--reason", "restored-from-backup", "--ticket", "OPS-17")


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*GATEWAY, *words], capture_output=True, text=True, timeout=90, check=False)


def backup(database: Path, copy: Path) -> None:
    """Copy a database as an operator's backup does, while nobody serves it."""
    with sqlite3.connect(database) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()


def restore(copy: Path, database: Path) -> None:
    for leftover in database.parent.glob(f"{database.name}-*"):
        leftover.unlink()
    shutil.copyfile(copy, database)


async def claims(parties: Parties, count: int) -> None:
    """Hand in claims and wait until the log says that each lies in the insurer's inbox."""
    for _ in range(count):
        await until_logged(parties, await hand_in(parties), "claim.delivered")


async def verified(gateway: Served) -> str:
    [log] = (gateway.data / "roles" / "audit" / "log").iterdir()
    trust = gateway.data / "profiles" / "log-trust.json"
    done = await asyncio.to_thread(run, "audit", "verify", "log", "--log", str(log), "--trust", str(trust))
    return done.stdout


@pytest.mark.parametrize("role", ["sz", "core", "hk"])
async def test_a_restored_role_is_refused_and_resumed_and_new_claims_walk_again(tmp_path: Path, role: str) -> None:
    async with served(tmp_path / "trial") as (gateway, parties):
        database = gateway.data / "roles" / role / f"{role}.db"
        assert await gateway.start()
        await claims(parties, 1)
        await parties.forget()
        await gateway.stop()
        backup(database, tmp_path / "backup.db")
        assert await gateway.start()
        await claims(parties, 2)
        await parties.forget()
        await gateway.stop()

        restore(tmp_path / "backup.db", database)
        refused = run("run", "all", "--data", str(gateway.data), "--port", "0")
        resumed = run("resume", role, "--data", str(gateway.data), *PERSONS, *WHY)

        sentence = refused.stderr.splitlines()[-1]
        assert refused.returncode == 1
        assert f"role {role} does not start: the log has {role}'s number" in sentence
        assert "docs/operating/restore.md (gateway resume)" in sentence
        assert (resumed.returncode, "epoch 2 begins after number" in resumed.stderr) == (0, True), resumed.stderr

        assert await gateway.start()
        await claims(parties, 2)
        report = await verified(gateway)
        assert await verify_log(gateway.data, "log") == 0
        assert f"{role} began epoch 2 at entry" in report
        assert f"{role} epoch 2 1 to" in report
        doctor = run("doctor", "--profile", str(gateway.data / "profiles" / "op-gateway-1.json"), "--role", "audit")
        assert (doctor.returncode, "well" in doctor.stdout) == (0, True), doctor.stdout
