"""What no honest party would send, made with the keys of the sandbox, and where to see what became of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from gateway.client.authoring import Authored
from gateway.client.opened import OpenedClaim
from gateway.client.transport import ApiProblem
from gateway.participants import actions as participants
from gateway.protocol.canonical import compact
from gateway.protocol.exchange import Exchange, Posted, Stamp, read_payload, text_hash
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import PrivateKey, Typ, sign
from gateway.protocol.records import record
from gateway.protocol.registry import (
    KeyRow,
    Release,
    Use,
    certify_registry_key,
    sign_entry,
    sign_release,
)
from gateway.protocol.topics import INSURER_RESPONSES
from gateway.runtime.bus.embedded import EmbeddedBus
from gateway.runtime.bus.port import BusRecord, Fetched, partition_of
from gateway.runtime.delivery.outbox import Post
from gateway.sandbox.trust import VALID_FROM, VALID_TO
from tests.walk import Claimed, House, until
from tests.walk_parties import Insurer, hand_in

CORE = "core.claims"


@dataclass
class Reviewed:
    """A claim in review at the insurer, ready to be decided; the edge's stream to core stands at seq 1."""

    house: House
    claimed: Claimed
    insurer: Insurer
    opened: OpenedClaim

    async def decision(self, **changes: Any) -> Authored:
        return await self.insurer.authored(self.opened, **changes)

    async def state(self) -> str:
        return str((await self.house.claim(self.claimed.claim_id))["state"])

    async def decide_truly(self) -> None:
        """Show that a true decision still goes through."""
        await self.insurer.decide(self.opened)
        assert await self.state() == "approved"


async def reviewed(found: House) -> Reviewed:
    claimed, insurer = await hand_in(found), Insurer(found)
    return Reviewed(found, claimed, insurer, await insurer.review(claimed))


def stamped(found: House, posted: Posted, case_id: str, *, key: PrivateKey | None = None, **changes: Any) -> Exchange:
    """Put a posted answer under a stamp as the Hong Kong edge would, or under one it never made."""
    now = found.clock.now()
    fields: dict[str, Any] = {
        "eid": mint("ev"),
        "role": "hk",
        "custody": "hosted",
        "topic": INSURER_RESPONSES,
        "key": case_id,
        "seq": 2,
        "type": "decided",
        "received_at": now,
        "expires": now + timedelta(days=30),
        "registry_release": 1,
        "manifest_sha256": text_hash(posted.manifest),
        "dossier_sha256": text_hash(posted.dossier),
    }
    stamp = Stamp(**fields | changes)
    payload = compact(stamp.model_dump(mode="json", exclude_none=True))
    token = sign(payload, key or found.key("hk/stamp/1"), Typ.STAMP)
    return Exchange(stamp=token, manifest=posted.manifest, dossier=posted.dossier, receipt=token)


async def publish(found: House, key: str, exchange: Exchange, topic: str = INSURER_RESPONSES) -> None:
    assert await found.gateway.bus.publish(topic, [BusRecord(key, exchange.encode())]) == 1


async def on_the_bus(found: House, topic: str, key: str) -> list[Fetched]:
    bus = found.gateway.bus
    assert isinstance(bus, EmbeddedBus)
    records = await bus.read_from({(topic, partition_of(topic, key)): 0}, 500)
    return [one for one in records if one.key == key]


async def until_read(found: House) -> None:
    """Wait until core has taken everything that is on the bus."""
    [worker] = [one for one in found.process("core").workers if one.group == CORE]

    async def drained() -> bool:
        return worker.consumer is not None and not any((await worker.consumer.lag()).values())

    await until(drained, "core at the end of its topics")


async def waiting(found: House, table: Any) -> list[Any]:
    return await found.read("core", select(table).where(table.c.consumer == CORE))


async def until_waiting(found: House, table: Any) -> Any:
    """Wait for the one row that core has parked or put in quarantine."""
    [row] = await until(lambda: waiting(found, table), f"a row in {table.name}")
    return row


async def answered(manifest_of: Authored, found: House, **changes: Any) -> Post:
    """Build the edge's own message around an answer, as it would send it: true stamp, whatever the content."""
    manifest = manifest_of.manifest
    clear = {"claim_id": manifest.claim_id, "msg_id": manifest.msg_id, "type": manifest.type}
    post = Post(
        INSURER_RESPONSES,
        manifest.case_id,
        manifest.type,
        record("answer.received", at=found.clock.now(), case_id=manifest.case_id, clear=clear),
        msg_id=manifest.msg_id,
        manifest=manifest_of.posted.manifest,
        dossier=manifest_of.posted.dossier,
    )
    return replace(post, **changes)


async def http_refusal(call: Callable[[], Awaitable[Any]]) -> tuple[int, str]:
    with pytest.raises(ApiProblem) as refused:
        await call()
    return refused.value.status, refused.value.code


def stranger(kid: str) -> PrivateKey:
    return PrivateKey.generate(kid, "Ed25519")


async def release_two(found: House, key: PrivateKey) -> None:
    """Publish registry release 2, in which the insurer has one more signing key."""
    first = found.process("core").trust.signed
    release = Release.model_validate(read_payload(first.release))
    actor = found.sandbox.actors["ins-lantau"]
    party = found.process("core").trust.directory.party("ins-lantau")
    row = KeyRow(kid=key.kid, use=Use.SIGN, crv="Ed25519", x=key.public.x, valid_from=VALID_FROM, valid_to=VALID_TO)
    entry = sign_entry(party.model_copy(update={"keys": (*party.keys, row)}), actor.keys["ins-lantau/sign/1"])
    others = [one for one in release.entries if read_payload(one)["code"] != "ins-lantau"]
    second = release.model_copy(update={"release": 2, "issued_at": found.clock.now(), "entries": (*others, entry)})
    root, registry = (
        PrivateKey.parse((found.data / "offline" / f"{name}.jwk").read_bytes()) for name in ("root", "registry")
    )
    signed = sign_release(second, registry, certify_registry_key(registry.public, root))
    [authority] = [one for one in found.process("core").components if one.name == "participants"]
    await participants.hold(authority.deps, signed, announce=True)
