from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.protocol.errors import Disposition, GatewayError, NotFoundError, TooLargeError
from gateway.runtime.blobs import CHUNK_BYTES, BlobStore
from gateway.runtime.openings import CaseSecret

SECRET = CaseSecret("case_1", bytes(range(32)))


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", bytes_max=4 * CHUNK_BYTES)


async def parts(content: bytes, step: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), step):
        yield content[start : start + step]


def files(store: BlobStore) -> list[Path]:
    return sorted(path for path in store.folder.rglob("*") if path.is_file()) if store.folder.exists() else []


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 4 * CHUNK_BYTES])
async def test_an_attachment_of_any_size_comes_back_by_its_hash(store: BlobStore, size: int) -> None:
    content = bytes(n % 251 for n in range(size))

    blob = await store.put(SECRET, parts(content))

    assert (blob.sha256, blob.size) == (sha256(content).hexdigest(), size)
    assert await store.get(SECRET, blob.sha256) == content


async def test_neither_file_nor_name_tells_what_is_in_it(store: BlobStore) -> None:
    content = b"QQ canary discharge summary " * 1000

    blob = await store.put(SECRET, parts(content))

    (path,) = files(store)
    assert b"canary" not in path.read_bytes()
    assert blob.sha256 not in str(path)
    assert "case_1" not in str(path)


async def test_the_same_attachment_twice_is_one_file(store: BlobStore) -> None:
    await store.put(SECRET, parts(b"scan"))
    await store.put(SECRET, parts(b"scan"))

    assert len(files(store)) == 1


async def test_two_cases_share_nothing(store: BlobStore) -> None:
    other = CaseSecret("case_2", bytes(reversed(range(32))))
    blob = await store.put(SECRET, parts(b"scan"))

    with pytest.raises(NotFoundError):
        await store.get(other, blob.sha256)


async def test_too_much_is_refused_while_it_comes_and_leaves_no_file(store: BlobStore) -> None:
    with pytest.raises(TooLargeError):
        await store.put(SECRET, parts(bytes(4 * CHUNK_BYTES + 1)))

    assert files(store) == []


async def test_a_writer_that_breaks_off_leaves_no_file(store: BlobStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await store.put(SECRET, broken())

    assert files(store) == []


@pytest.mark.parametrize("harm", ["flip", "cut", "swap", "magic", "empty"])
async def test_a_damaged_file_is_never_given_out(store: BlobStore, harm: str) -> None:
    blob = await store.put(SECRET, parts(bytes(3 * CHUNK_BYTES)))
    (path,) = files(store)
    raw = path.read_bytes()
    step, head = CHUNK_BYTES + 16, len(raw) % (CHUNK_BYTES + 16)
    harmed = {
        "flip": raw[:-1] + bytes([raw[-1] ^ 1]),
        "cut": raw[:-step],
        "swap": raw[:head] + raw[head + step : head + 2 * step] + raw[head : head + step] + raw[head + 2 * step :],
        "magic": b"x" + raw[1:],
        "empty": b"",
    }[harm]
    path.write_bytes(harmed)

    with pytest.raises(GatewayError) as caught:
        await store.get(SECRET, blob.sha256)

    assert (caught.value.code, caught.value.disposition) == ("attachment.damaged", Disposition.HALT)


async def test_erasing_a_case_removes_its_files_alone(store: BlobStore) -> None:
    other = CaseSecret("case_2", bytes(32))
    blob = await store.put(SECRET, parts(b"scan"))
    kept = await store.put(other, parts(b"scan"))

    assert await store.erase("case_1") == 1
    assert await store.erase("case_1") == 0

    with pytest.raises(NotFoundError):
        await store.get(SECRET, blob.sha256)
    assert await store.get(other, kept.sha256) == b"scan"
