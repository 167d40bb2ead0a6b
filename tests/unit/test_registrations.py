"""How a component takes a message: as the model that it is registered for, prepared, and checked where it comes in."""

from dataclasses import dataclass, field

import pytest

from gateway.protocol.errors import InvalidInputError
from gateway.protocol.exchange import Exchange, Manifest, Message
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.protocol.messages.void_asked import VoidAsked
from gateway.protocol.topics import INSURER_RESPONSES
from gateway.runtime.bus.port import Fetched
from gateway.runtime.component import Delivery, Registration, on
from gateway.runtime.storage.database import Transaction
from tests.message_samples import SAMPLES
from tests.parties import NOW, a_returned, a_stamp, world


@dataclass
class Deps:
    """Notes what the handler was given."""

    taken: list[tuple[Message, object]] = field(default_factory=list)


async def take(tx: Transaction, deps: Deps, delivery: Delivery, message: Message) -> None:
    del tx, delivery
    deps.taken.append((message, None))


async def take_prepared(tx: Transaction, deps: Deps, delivery: Delivery, message: Message, prepared: str) -> None:
    del tx, delivery
    deps.taken.append((message, prepared))


async def prepare(deps: Deps, delivery: Delivery, message: Message) -> str:
    assert not deps.taken
    return f"{delivery.stamp.type} of {type(message).__name__}"


def delivery_of(message: Message) -> Delivery:
    kind = str(message.model_dump()["type"])
    stamp = a_stamp(type=kind, topic=INSURER_RESPONSES)
    manifest = message if isinstance(message, Manifest) else None
    fetched = Fetched(INSURER_RESPONSES, 0, 0, stamp.key, b"")
    own = None if manifest else message
    return Delivery("core.claims", fetched, Exchange(stamp="stamp"), stamp, NOW, manifest, own)


async def apply(registration: Registration[Deps], deps: Deps, message: Message) -> None:
    work = await registration.bind(deps, delivery_of(message))
    await work(None, world().directory)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted(SAMPLES))
async def test_a_handler_gets_the_message_as_the_model_it_is_registered_for(kind: str) -> None:
    deps = Deps()

    await apply(on(type(SAMPLES[kind]), take), deps, SAMPLES[kind])

    assert deps.taken == [(SAMPLES[kind], None)]


async def test_a_handler_gets_what_was_prepared() -> None:
    deps = Deps()

    await apply(on(ReturnedManifest, take_prepared, prepare=prepare), deps, a_returned())

    assert deps.taken == [(a_returned(), "returned of ReturnedManifest")]


async def test_a_message_that_is_another_than_its_registration_says_reaches_no_handler() -> None:
    deps = Deps()

    with pytest.raises(TypeError, match="returned is not a DisputedManifest"):
        await apply(on(DisputedManifest, take), deps, a_returned())

    assert deps.taken == []


async def test_a_manifest_that_newly_comes_in_is_checked_before_its_handler_runs() -> None:
    deps, unknown = Deps(), a_returned(class_code="G999")

    with pytest.raises(InvalidInputError) as refused:
        await apply(on(ReturnedManifest, take, accept=True), deps, unknown)

    assert [(fault.code, fault.pointer) for fault in refused.value.faults] == [("reason.unknown", "/class_code")]
    assert deps.taken == []


async def test_a_manifest_that_was_accepted_before_is_taken_as_it_is() -> None:
    deps, unknown = Deps(), a_returned(class_code="G999")

    await apply(on(ReturnedManifest, take), deps, unknown)

    assert deps.taken == [(unknown, None)]


def test_only_what_a_party_signs_can_be_checked_as_newly_come_in() -> None:
    with pytest.raises(TypeError, match="VoidAsked is not signed by a party"):
        on(VoidAsked, take, accept=True)
