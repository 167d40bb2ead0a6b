"""Use cases: hold registry releases, publish them from core, install them everywhere."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.participants import store
from gateway.protocol.canonical import read_json_object, sha256_hex
from gateway.protocol.clock import rfc3339
from gateway.protocol.records import record
from gateway.protocol.registry import SignedRelease, release_number
from gateway.protocol.topics import REGISTRY_RELEASES
from gateway.runtime.bus.headers import routing_headers
from gateway.runtime.bus.port import Bus, BusRecord
from gateway.runtime.services import RoleDeps
from gateway.runtime.storage.database import Transaction


@dataclass(frozen=True)
class Deps(RoleDeps):
    bus: Bus
    source: Path | None
    """Core's folder of release files and `accounts.json`; None where this is a replica."""


async def start(deps: Deps) -> None:
    """Put the newest stored release in force; core first takes what its folder holds."""
    if deps.source is not None:
        for path in sorted(deps.source.glob("release-*.json")):
            await hold(deps, SignedRelease.decode(path.read_bytes()), announce=True)
        await _take_accounts(deps, deps.source / "accounts.json")
    newest = await deps.database.read(store.load_newest)
    if newest is not None:
        signed = SignedRelease.decode(newest.encode())
        deps.trust.install(signed, deps.trust.verify(signed))


async def hold(deps: Deps, signed: SignedRelease, *, announce: bool = False) -> None:
    """Verify, store and install a release; one that is not newer changes nothing."""
    if release_number(signed) <= deps.trust.number:
        return
    directory = deps.trust.verify(signed)
    raw = signed.encode().decode()
    now = deps.clock.now()

    async def work(tx: Transaction) -> None:
        known = await store.load_newest(tx)
        await store.save_release(tx, directory.number, raw, rfc3339(now))
        if announce and known != raw:
            clear = {"release": directory.number, "release_sha256": sha256_hex(raw.encode())}
            await deps.outbox.add(tx, record("registry.published", at=now, clear=clear))

    await deps.database.write(work)
    deps.trust.install(signed, directory)


async def note_refused(deps: Deps, raw: bytes, code: str) -> None:
    clear = {"topic": REGISTRY_RELEASES, "code": code, "sha256": sha256_hex(raw)}
    made = record(f"{deps.outbox.sender.role}.message_refused", at=deps.clock.now(), clear=clear)

    async def work(tx: Transaction) -> None:
        await deps.outbox.add(tx, made)

    await deps.database.write(work)


async def publish(deps: Deps) -> None:
    """Publish releases that no role has heard of; if we die before the mark, it goes out twice and is dropped."""
    for row in await deps.database.read(store.list_unpublished):
        at = rfc3339(deps.clock.now())
        headers = routing_headers(
            f"release-{row.number}",
            "registry.released",
            source=deps.outbox.sender.role,
            at=row.installed_at,
            trace=None,
        )
        await deps.bus.publish(REGISTRY_RELEASES, [BusRecord("participants", row.raw.encode(), headers)])
        await deps.database.write(partial(store.mark_published, number=row.number, at=at))


async def _take_accounts(deps: Deps, path: Path) -> None:
    if not path.is_file():
        return
    found = read_json_object(path.read_bytes())

    async def work(tx: Transaction) -> None:
        for account in found["accounts"]:
            await store.save_account(tx, account["party"], account["currency"], account)

    await deps.database.write(work)
