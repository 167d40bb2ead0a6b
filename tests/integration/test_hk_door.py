"""The Hong Kong edge's door: an answer is taken only if its readers can open it, and nothing in clear leaks."""

from typing import Any

import pytest

from adapters.hk.edge import actions, store
from adapters.hk.edge.actions import Deps
from adapters.hk.edge.tables import METADATA, requests
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import VirtualClock, rfc3339
from gateway.protocol.errors import Fault, InvalidInputError
from gateway.protocol.exchange import Manifest, Posted, content_hash, pack
from gateway.protocol.jose import PublicKey, seal
from gateway.runtime.custody.keys import Keyring
from gateway.runtime.storage.database import Database, Transaction, rows
from gateway.runtime.storage.tables import METADATA as RUNTIME
from tests.conftest import MakeDatabase
from tests.parties import (
    CONTENT,
    HOSPITAL,
    INSURER,
    NOW,
    OTHER_INSURER,
    a_decision,
    a_disputed,
    a_returned,
    a_submitted,
    an_acknowledged,
    an_entry,
    key_of,
    signed_by,
    world,
)
from tests.role_services import role_services

PACKED = pack(CONTENT)
WINDOW_S = 300
EVERYTHING = ("acknowledge", "return", "decide", "decide_partly", "dispute")


@pytest.fixture
async def edge(make_database: MakeDatabase) -> Deps:
    """The edge on a database that has one claim, on which everything is allowed."""
    deps = an_edge(make_database(RUNTIME, METADATA))

    async def work(tx: Transaction) -> None:
        await store.save_claim(tx, a_submitted(), EVERYTHING, rfc3339(NOW))

    await deps.database.write(work)
    return deps


def an_edge(database: Database) -> Deps:
    keyring = Keyring({name: key_of(name) for name in ("hk/stamp/1", "hk/audit/1")}, bytes(range(32)))
    return Deps(role_services(database, "hk", VirtualClock(NOW), keyring=keyring), WINDOW_S)


def seal_key(party: str) -> PublicKey:
    return world().directory.seal_key(party, NOW)


def sealed(*parties: str) -> str:
    return seal(PACKED, [seal_key(party) for party in parties or (HOSPITAL, INSURER)])


def with_content(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"content_sha256": content_hash(PACKED)})


async def post(edge: Deps, manifest: Manifest, dossier: str | None) -> None:
    raw = Posted(signed_by(manifest), dossier).encode()
    assert (await actions.accept(edge, INSURER, manifest.msg_id, raw)).answer.status == 202


async def refusal(edge: Deps, manifest: Manifest, dossier: str | None) -> InvalidInputError:
    """Post what the edge must refuse, and see that it kept nothing of it."""
    with pytest.raises(InvalidInputError) as refused:
        await post(edge, manifest, dossier)

    async def kept(tx: Transaction) -> int:
        return len(await rows(tx, requests.select()))

    assert await edge.database.read(kept) == 0
    return refused.value


@pytest.mark.parametrize("manifest", [a_decision(), a_returned()], ids=["decided", "returned"])
async def test_an_answer_sealed_to_the_hospital_and_its_author_is_taken(edge: Deps, manifest: Manifest) -> None:
    await post(edge, with_content(manifest), sealed())


async def test_an_answer_without_content_is_taken(edge: Deps) -> None:
    await post(edge, with_content(an_acknowledged()), None)
    await post(edge, a_disputed(differences=("/dossier",)), None)


async def test_an_answer_in_another_valid_form_is_taken(edge: Deps) -> None:
    dossier: dict[str, Any] = read_json_object(sealed().encode())
    for recipient in dossier["recipients"]:
        dossier["unprotected"] = {"alg": recipient["header"].pop("alg")}

    await post(edge, with_content(a_decision()), compact(dossier).decode())


async def test_an_answer_sealed_for_one_recipient_only_is_refused_by_name(edge: Deps) -> None:
    error = await refusal(edge, with_content(a_decision()), sealed(HOSPITAL))

    assert (error.code, error.faults) == (
        "dossier.refused",
        (Fault("dossier.one-recipient", "/dossier/recipients"),),
    )


async def test_an_answer_sealed_to_somebody_off_the_route_is_refused(edge: Deps) -> None:
    error = await refusal(edge, with_content(a_decision()), sealed(HOSPITAL, OTHER_INSURER))

    assert error.faults == (Fault("dossier.recipient-not-on-route", "/dossier/recipients/1/header/kid"),)


async def test_every_fault_of_fields_and_dossier_is_named_at_once(edge: Deps) -> None:
    dossier: dict[str, Any] = read_json_object(sealed().encode())
    dossier["recipients"][0]["header"]["zip"] = "DEF"
    dossier["tag"] = "AAAA"
    wrong = a_decision(entries=(an_entry(0, 1, benefit=120_000, class_code="G999"),))

    error = await refusal(edge, with_content(wrong), compact(dossier).decode())

    assert (error.code, set(error.faults)) == (
        "message.invalid",
        {
            Fault("reason.unknown", "/entries/0/class_code"),
            Fault("dossier.zip", "/dossier/recipients/0/header/zip"),
            Fault("dossier.size", "/dossier/tag"),
        },
    )


async def test_an_answer_whose_type_has_content_needs_hash_and_dossier(edge: Deps) -> None:
    code, no_hash = "message.dossier-expected-or-not", Fault("message.content-missing", "/content_sha256")

    neither = await refusal(edge, a_decision(), None)
    hash_alone = await refusal(edge, with_content(a_returned()), None)
    dossier_alone = await refusal(edge, a_decision(), sealed())
    both_on_another_type = await refusal(edge, with_content(a_disputed(differences=("/dossier",))), sealed())

    assert neither.faults == (no_hash, Fault(code, "/dossier"))
    assert hash_alone.faults == (Fault(code, "/dossier"),)
    assert dossier_alone.faults == (no_hash,)
    assert both_on_another_type.faults == (Fault(code, "/content_sha256"), Fault(code, "/dossier"))


async def test_an_acknowledgement_repeats_the_hash_of_the_claim_and_has_no_dossier(edge: Deps) -> None:
    without_hash = await refusal(edge, an_acknowledged(), None)
    with_dossier = await refusal(edge, with_content(an_acknowledged()), sealed())

    assert without_hash.faults == (Fault("message.content-missing", "/content_sha256"),)
    assert with_dossier.faults == (Fault("message.dossier-expected-or-not", "/dossier"),)


async def test_a_dispute_of_free_text_is_refused(edge: Deps) -> None:
    error = await refusal(edge, a_disputed(differences=("/asked_minor", "Chan Tai Man A1234563")), None)

    assert error.faults == (Fault("dispute.difference-unknown", "/differences/1"),)


async def test_a_message_id_that_is_a_persons_number_is_refused(edge: Deps) -> None:
    error = await refusal(edge, with_content(an_acknowledged(msg_id="A1234563")), None)

    assert error.faults == (Fault("field.names-a-person", "/msg_id"),)


@pytest.mark.parametrize("dossier", ["", "no json", "{}", "[]", "null", '{"protected":1}', "a.b.c.d.e"])
async def test_a_dossier_that_is_none_is_refused_with_its_place(edge: Deps, dossier: str) -> None:
    error = await refusal(edge, with_content(a_decision()), dossier)

    assert error.code == "dossier.refused"
    assert all(fault.pointer.startswith("/dossier") for fault in error.faults)
