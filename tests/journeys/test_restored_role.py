"""A role whose database alone is set back to an older backup: refused with a way out, resumed, and reported openly."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.postgres import postgres
from tests.served import Served, served
from tests.walk import Claimed, Parties, until, verify_log
from tests.walk_parties import Insurer, hand_in, until_logged

GATEWAY = (sys.executable, "-m", "gateway")
PERSONS = ("--operator", "op-gateway-1", "--confirmed-by", "op-gateway-2")
WHY = ("--reason", "restored-from-backup", "--ticket", "OPS-17")


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*GATEWAY, *words], capture_output=True, text=True, timeout=90, check=False)


@dataclass(frozen=True)
class FileBackup:
    """A role's SQLite file, copied and put back as an operator does while nobody serves it."""

    database: Path
    copy: Path

    def make(self) -> None:
        with sqlite3.connect(self.database) as source, sqlite3.connect(self.copy) as target:
            source.backup(target)
        source.close()
        target.close()

    def restore(self) -> None:
        for leftover in self.database.parent.glob(f"{self.database.name}-*"):
            leftover.unlink()
        shutil.copyfile(self.copy, self.database)


@dataclass(frozen=True)
class ServerBackup:
    """A role's database on PostgreSQL, copied and put back by the server itself."""

    name: str

    def make(self) -> None:
        postgres().execute(f'CREATE DATABASE "{self.name}_copy" TEMPLATE "{self.name}"')

    def restore(self) -> None:
        postgres().execute(f'DROP DATABASE "{self.name}"')
        postgres().execute(f'CREATE DATABASE "{self.name}" TEMPLATE "{self.name}_copy"')


def backup_of(gateway: Served, role: str, database: str) -> "FileBackup | ServerBackup":
    """Put the role, and the log, on the wanted database; return how to back the role's up."""
    if database == "sqlite":
        return FileBackup(gateway.data / "roles" / role / f"{role}.db", gateway.data.parent / "backup.db")
    urls = {name: postgres().fresh_url() for name in (role, "audit")}
    for name, url in urls.items():
        settings = gateway.data / "roles" / name / "settings.toml"
        settings.write_text(f'database_url = "{url}"\n' + settings.read_text())
    return ServerBackup(urls[role].rpartition("/")[2])


async def claims(parties: Parties, count: int) -> None:
    """Hand in claims and wait until the log says that each lies in the insurer's inbox."""
    for _ in range(count):
        await until_logged(parties, await hand_in(parties), "claim.delivered")


async def verified(gateway: Served) -> str:
    [log] = (gateway.data / "roles" / "audit" / "log").iterdir()
    trust = gateway.data / "profiles" / "log-trust.json"
    done = await asyncio.to_thread(run, "audit", "verify", "log", "--log", str(log), "--trust", str(trust))
    return done.stdout


@pytest.mark.parametrize(
    ("role", "database"), [("sz", "sqlite"), ("core", "sqlite"), ("hk", "sqlite"), ("sz", "postgresql")]
)
async def test_a_restored_role_is_refused_and_resumed_and_new_claims_walk_again(
    tmp_path: Path, role: str, database: str
) -> None:
    async with served(tmp_path / "trial") as (gateway, parties):
        backup = backup_of(gateway, role, database)
        assert await gateway.start()
        await claims(parties, 1)
        await parties.forget()
        await gateway.stop()
        backup.make()
        assert await gateway.start()
        await claims(parties, 2)
        await parties.forget()
        await gateway.stop()

        backup.restore()
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


async def test_a_restored_core_learns_again_what_others_have_told_it_and_claims_go_on(tmp_path: Path) -> None:
    async with served(tmp_path / "trial") as (gateway, parties):
        backup = backup_of(gateway, "core", "sqlite")
        assert await gateway.start()
        await claims(parties, 1)
        await parties.forget()
        await gateway.stop()
        backup.make()
        assert await gateway.start()
        forgotten, insurer = await hand_in(parties), Insurer(parties)
        opened = await insurer.review(forgotten)
        await until_logged(parties, forgotten, "claim.in_review")
        await parties.forget()
        await gateway.stop()

        backup.restore()
        resumed = run("resume", "core", "--data", str(gateway.data), *PERSONS, *WHY)
        assert await gateway.start()
        sent_again = [republished(gateway, *source) for source in WRITERS_TO_CORE]
        await until_reviewed_again(parties, forgotten)
        await insurer.decide(opened)

        assert resumed.returncode == 0, resumed.stderr
        assert [done.returncode for done in sent_again] == [0, 0], sent_again
        await until_logged(parties, forgotten, "claim.decided")
        doctor = run("doctor", "--profile", str(gateway.data / "profiles" / "op-gateway-1.json"))
        assert doctor.returncode == 0, doctor.stdout


WRITERS_TO_CORE = (("sz", "hospital.requests.v1"), ("hk", "insurer.responses.v1"))


def republished(gateway: Served, role: str, topic: str) -> "subprocess.CompletedProcess[str]":
    words = ("--role", role, "--topic", topic, "--since", "2026-01-01T00:00:00Z")
    profile = str(gateway.data / "profiles" / "op-gateway-1.json")
    return run("outbox", "republish", *words, "--profile", profile)


async def until_reviewed_again(parties: Parties, claimed: Claimed) -> None:
    """Wait until core itself has taken the claim into review once more, as its log entries tell."""
    auditor = parties.session("aud-one-tools", "audit")

    async def reviewed() -> bool:
        events = (await auditor.get(f"/v1/claims/{claimed.case_id}")).json()["events"]
        return [event["typ"] for event in events].count("claim.in_review") == 2

    await until(reviewed, "the claim in review again")
