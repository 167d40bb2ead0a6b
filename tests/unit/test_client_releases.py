from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from gateway.client.releases import Releases
from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import BadSignatureError, UnknownKeyError
from gateway.protocol.registry import Directory, SignedRelease
from tests.parties import NOW, world


@dataclass
class Source:
    """Serves one release, and counts how often it was asked."""

    signed: SignedRelease
    asked: int = 0
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(NOW))

    async def fetch(self) -> SignedRelease:
        self.asked += 1
        return self.signed

    def releases(self) -> Releases:
        return Releases(self.fetch, world().trust, self.clock)


def unknown(directory: Directory) -> None:
    directory.holder("nobody/sign/1")


async def test_a_release_is_fetched_once_and_kept() -> None:
    source = Source(world().signed)
    releases = source.releases()

    assert (await releases.directory()).number == 1
    assert await releases.checked(lambda directory: directory.number) == 1

    assert source.asked == 1


async def test_an_unknown_key_makes_it_ask_again_at_most_once_a_minute() -> None:
    source = Source(world().signed)
    releases = source.releases()
    await releases.directory()

    for _ in range(5):
        with pytest.raises(UnknownKeyError):
            await releases.checked(unknown)
    asked_within_the_minute = source.asked
    source.clock.advance(timedelta(minutes=1))
    with pytest.raises(UnknownKeyError):
        await releases.checked(unknown)

    assert (asked_within_the_minute, source.asked) == (1, 2)


async def test_a_newer_release_answers_what_the_kept_one_could_not() -> None:
    parties = [party for party in world().directory.parties.values() if party.code != "hk"]
    source = Source(world().sign_release(parties, number=1))
    releases = source.releases()
    await releases.directory()
    source.signed = world().sign_release(number=2)
    source.clock.advance(timedelta(minutes=1))

    holder = await releases.checked(lambda directory: directory.holder("hk/stamp/1"))

    assert holder.party.code == "hk"


async def test_an_older_release_never_replaces_a_newer_one() -> None:
    source = Source(world().sign_release(number=2))
    releases = source.releases()
    await releases.directory()
    source.signed = world().signed
    source.clock.advance(timedelta(minutes=1))

    with pytest.raises(UnknownKeyError):
        await releases.checked(unknown)

    assert (await releases.directory()).number == 2


async def test_a_release_that_the_root_does_not_vouch_for_is_not_believed() -> None:
    forged = SignedRelease(world().signed.release, world().sign_release(number=2).release)

    with pytest.raises(BadSignatureError):
        await Source(forged).releases().directory()
