"""A treasurer's client: see the batches that wait for approval, and sign exactly what was seen.

An approval is a compact JWS (typ `szhk-approval+jws`) by the person's own key over the hash of the batch's canonical
bytes (RFC 8785), computed here from the batch as it is shown, never taken from the server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from gateway.client.transport import PartyClient
from gateway.protocol.canonical import canonical, compact, sha256_hex
from gateway.protocol.clock import rfc3339
from gateway.protocol.errors import BadSignatureError, MalformedInputError
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import Typ, sign


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: `body` is what is hashed and signed, `sha256` its hash as computed here."""

    batch_id: str
    state: str
    sha256: str
    body: Mapping[str, Any] = field(repr=False)


class TreasurerClient(PartyClient):
    """One person of a payer."""

    roles = ("settlement",)

    async def batches(self) -> tuple[Batch, ...]:
        """Return the payer's batches, newest first."""
        found = (await self._at("settlement").get("/v1/batches")).json().get("batches")
        if not isinstance(found, list):
            raise MalformedInputError("client.answer-malformed")
        return tuple(_batch(one) for one in found)

    async def batch(self, batch_id: str) -> Batch:
        return _batch((await self._at("settlement").get(f"/v1/batches/{quote(batch_id, safe='')}")).json())

    async def approve(self, batch: Batch) -> Mapping[str, Any]:
        """Sign a batch as it was shown; raises `ApiProblem` if it has changed since, or was approved by you before."""
        statement = {
            "batch_id": batch.batch_id,
            "batch_sha256": batch.sha256,
            "decision": "approve",
            "person": self._profile.person,
            "at": rfc3339(self._clock.now()),
        }
        approval = sign(compact(statement), self._profile.signing(), Typ.APPROVAL)
        path = f"/v1/batches/{batch.batch_id}/approvals"
        answer = await self._at("settlement").post(path, compact({"approval": approval}), key=mint("approval"))
        return answer.json()


def _batch(found: Any) -> Batch:
    """Read a batch; `BadSignatureError` if the hash the server names is not that of the body it shows."""
    try:
        body, batch_id, state = found["body"], found["batch_id"], found["state"]
        computed = sha256_hex(canonical(body))
        named = (found["batch_sha256"], body["batch_id"])
    except (KeyError, TypeError):
        raise MalformedInputError("client.answer-malformed") from None
    if named != (computed, batch_id):
        raise BadSignatureError("batch.hash-differs")
    return Batch(batch_id, str(state), computed, body)
