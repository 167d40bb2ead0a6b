"""Attachments at rest: encrypted files under the case's secret, found by the SHA-256 of their plain bytes.

A file is a header (magic, 32-byte salt) and chunks of 64 KiB, each sealed with AES-256-GCM under a key of its own for
this file: HKDF-SHA256 over the case secret, the salt in its info. The nonce is the chunk's number and whether it is
the last, so chunks cannot be swapped, cut off or taken from another file. File names are an HMAC of the hash: the
folder tells nobody which known document a case holds. Destroying the case secret destroys its files' content.
"""

import asyncio
import hmac
import os
import tempfile
from collections.abc import AsyncIterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.protocol.errors import GatewayError, NotFoundError, TooLargeError
from gateway.runtime.openings import CaseSecret, derive

MAGIC = b"szhkblob1\n"
SALT_BYTES = 32
CHUNK_BYTES = 64 * 1024
TAG_BYTES = 16


@dataclass(frozen=True, slots=True)
class Blob:
    """What a dossier says of an attachment: the hash of its plain bytes, in hex, and their number."""

    sha256: str
    size: int


@dataclass(frozen=True)
class BlobStore:
    """One role's attachments; a folder a case. `bytes_max` bounds one attachment."""

    folder: Path
    bytes_max: int

    async def put(self, secret: CaseSecret, plain: AsyncIterable[bytes]) -> Blob:
        """Write an attachment while it comes in; durable when this returns. Written twice, it is one file.

        If we die in between, a temporary file is left that nobody finds; it goes when the case is erased.
        """
        folder = self._of_case(secret)
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        descriptor, name = await asyncio.to_thread(tempfile.mkstemp, dir=folder, prefix=".new-")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                digest, size = await self._write(secret, plain, file)
            await asyncio.to_thread(_move_durably, temporary, folder / _name(secret, digest))
        finally:
            await asyncio.to_thread(temporary.unlink, missing_ok=True)
        return Blob(digest, size)

    async def get(self, secret: CaseSecret, digest: str) -> bytes:
        """Return the plain bytes; HALT if the file is not what was written."""
        return await asyncio.to_thread(self._read, secret, digest)

    async def erase(self, case_id: str) -> int:
        """Remove every file of a case; returns how many there were."""
        return await asyncio.to_thread(self._remove, case_id)

    def _of_case(self, secret: CaseSecret) -> Path:
        return self.folder / _case_folder(secret.case_id)

    async def _write(self, secret: CaseSecret, plain: AsyncIterable[bytes], file: BinaryIO) -> tuple[str, int]:
        salt = os.urandom(SALT_BYTES)
        cipher = _cipher(secret, salt)
        hashed, size, number = sha256(), 0, 0
        waiting = bytearray()
        await asyncio.to_thread(file.write, MAGIC + salt)
        async for part in plain:
            size += len(part)
            if size > self.bytes_max:
                raise TooLargeError("attachment.too-large")
            hashed.update(part)
            waiting += part
            while len(waiting) > CHUNK_BYTES:
                sealed = cipher.encrypt(_nonce(number, last=False), bytes(waiting[:CHUNK_BYTES]), None)
                await asyncio.to_thread(file.write, sealed)
                del waiting[:CHUNK_BYTES]
                number += 1
        last = cipher.encrypt(_nonce(number, last=True), bytes(waiting), None)
        await asyncio.to_thread(_finish, file, last)
        return hashed.hexdigest(), size

    def _read(self, secret: CaseSecret, digest: str) -> bytes:
        path = self._of_case(secret) / _name(secret, digest)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError("attachment.unknown") from None
        plain = _open(secret, raw)
        if sha256(plain).hexdigest() != digest:
            raise GatewayError("attachment.damaged")
        return plain

    def _remove(self, case_id: str) -> int:
        folder = self.folder / _case_folder(case_id)
        files = list(folder.iterdir()) if folder.is_dir() else []
        for path in files:
            path.unlink()
        if folder.is_dir():
            folder.rmdir()
        return len(files)


def _case_folder(case_id: str) -> str:
    return sha256(case_id.encode()).hexdigest()[:32]


def _name(secret: CaseSecret, digest: str) -> str:
    return hmac.digest(derive(secret.secret, "szhk-blob-name/1"), digest.encode(), "sha256").hex()


def _cipher(secret: CaseSecret, salt: bytes) -> AESGCM:
    return AESGCM(derive(secret.secret, f"szhk-blob/1|{salt.hex()}"))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11) + (b"\x01" if last else b"\x00")


def _open(secret: CaseSecret, raw: bytes) -> bytes:
    head = len(MAGIC) + SALT_BYTES
    if not raw.startswith(MAGIC) or len(raw) < head + TAG_BYTES:
        raise GatewayError("attachment.damaged")
    cipher = _cipher(secret, raw[len(MAGIC) : head])
    step = CHUNK_BYTES + TAG_BYTES
    places = range(head, len(raw), step)
    try:
        chunks = [
            cipher.decrypt(_nonce(number, last=place == places[-1]), raw[place : place + step], None)
            for number, place in enumerate(places)
        ]
    except InvalidTag:
        raise GatewayError("attachment.damaged") from None
    return b"".join(chunks)


def _finish(file: BinaryIO, last: bytes) -> None:
    file.write(last)
    file.flush()
    os.fsync(file.fileno())


def _move_durably(temporary: Path, target: Path) -> None:
    """Rename within the folder, then flush it and its parent: after this the name survives a power cut."""
    temporary.rename(target)
    for folder in (target.parent, target.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
