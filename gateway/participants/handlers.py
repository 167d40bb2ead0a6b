"""Releases in, on every role."""

from gateway.participants import actions
from gateway.participants.actions import Deps
from gateway.protocol.errors import RefuseError
from gateway.protocol.registry import SignedRelease
from gateway.runtime.bus.port import Fetched


async def take_releases(deps: Deps, fetched: list[Fetched]) -> None:
    """Install releases in order; each is verified up to the root, whoever brought it, and a false one is recorded."""
    for one in fetched:
        try:
            await actions.hold(deps, SignedRelease.decode(one.value))
        except RefuseError as error:
            await actions.note_refused(deps, one.value, error.code)
