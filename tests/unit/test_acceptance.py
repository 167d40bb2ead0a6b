"""What is demanded of a manifest where it is taken: each clear field has a table or an alphabet."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin
from uuid import UUID  # noqa: TID251 how other systems write ids

import pytest
from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.protocol.acceptance import CHECKS, ELSEWHERE, PARTIES, acceptance_faults, check_acceptance
from gateway.protocol.errors import Fault, InvalidInputError
from gateway.protocol.exchange import Manifest
from gateway.protocol.messages import MANIFESTS
from gateway.protocol.reasons import REASONS
from tests.message_samples import SAMPLES
from tests.parties import (
    HOSPITAL,
    INSURER,
    a_decision,
    a_disputed,
    a_returned,
    a_submitted,
    an_acknowledged,
    an_entry,
    world,
)

GOOD = [SAMPLES[name] for name in sorted(MANIFESTS)]
A_HASH = "^[0-9a-f]{64}$"


def faults(manifest: Manifest) -> list[Fault]:
    parties = world().directory.parties
    return acceptance_faults(manifest, kind=parties[manifest.sender].kind, parties=parties)


@pytest.mark.parametrize("manifest", GOOD, ids=sorted(MANIFESTS))
def test_a_good_message_of_every_type_is_taken(manifest: Manifest) -> None:
    assert faults(manifest) == []


def test_a_class_code_outside_the_table_is_refused_on_a_line_that_is_paid_in_full() -> None:
    decision = a_decision(entries=(an_entry(0, benefit=100_000, class_code="G999"), an_entry(1, benefit=20_000)))

    assert faults(decision) == [Fault("reason.unknown", "/entries/0/class_code")]


def test_a_class_code_outside_the_table_is_refused_on_a_return() -> None:
    assert faults(a_returned(class_code="G028")) == [Fault("reason.unknown", "/class_code")]


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_class_code_of_the_table_is_taken(code: str) -> None:
    assert faults(a_returned(class_code=code)) == []


@pytest.mark.parametrize(
    "text",
    ["msg_vdkqsimpjypnsk2uozuryjli4u", str(UUID(int=7)), f"msg_{UUID(int=7)}", "LANTAU-2026-000123", "a.b:c-d_1"],
)
def test_an_id_of_any_honest_system_is_taken(text: str) -> None:
    assert faults(an_acknowledged(msg_id=text, in_reply_to=text)) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("A1234563", "field.names-a-person"),
        ("a1234563", "field.names-a-person"),
        ("msg_A1234563", "field.names-a-person"),
        ("A-123456-3", "field.names-a-person"),
        ("msg_A123456-3", "field.names-a-person"),
        ("case-a123456_3.v2", "field.names-a-person"),
        ("11010519491231002X", "field.names-a-person"),
        ("H12345678", "field.names-a-person"),
        ("claim-13800138000", "field.names-a-person"),
        ("A123456(3)", "field.not-an-id"),
        ('{"name":"x"}', "field.not-an-id"),
        ("chan@example.org", "field.not-an-id"),
    ],
)
@pytest.mark.parametrize("field", ["msg_id", "in_reply_to", "claim_id", "case_id"])
def test_an_id_that_names_a_person_or_is_no_id_is_refused(field: str, text: str, code: str) -> None:
    assert faults(an_acknowledged(**{field: text})) == [Fault(code, f"/{field}")]


@pytest.mark.parametrize("field", ["claim_token", "guarantee_id"])
def test_a_token_or_reference_of_a_claim_never_names_a_person(field: str) -> None:
    assert faults(a_submitted(**{field: "A1234563"})) == [Fault("field.names-a-person", f"/{field}")]
    assert faults(a_submitted(receipt_tokens=("tok_receipt_0001", "A1234563"))) == [
        Fault("field.names-a-person", "/receipt_tokens/1")
    ]


@pytest.mark.parametrize("field", ["carrier", "administrator", "payer"])
def test_a_party_that_the_registry_does_not_list_is_refused(field: str) -> None:
    assert faults(a_submitted(**{field: "CHAN-TAI-MAN"})) == [Fault("party.unknown", f"/{field}")]


def test_a_recipient_that_the_registry_does_not_list_is_refused() -> None:
    assert faults(an_acknowledged(recipients=(HOSPITAL, "A1234563"))) == [Fault("party.unknown", "/recipients/1")]


def test_a_number_that_is_no_count_of_ours_is_refused() -> None:
    phone = 13_800_138_000

    assert faults(an_acknowledged(based_on=phone)) == [Fault("field.less-than-equal", "/based_on")]
    assert faults(a_decision(decision_version=phone)) == [Fault("field.less-than-equal", "/decision_version")]
    assert faults(a_decision(entries=(an_entry(0, phone, benefit=1),))) == [
        Fault("field.less-than-equal", "/entries/0/lines/1")
    ]


def test_an_insurer_disputes_a_claim_and_a_hospital_an_answer() -> None:
    by_insurer = a_disputed(differences=("/asked_minor",))
    by_hospital = a_disputed(sender=HOSPITAL, recipients=(INSURER,), differences=("/entries/0",))

    assert faults(by_insurer) == faults(by_hospital) == []
    assert faults(by_insurer.model_copy(update={"differences": ("/entries/0",)})) != []
    assert faults(by_hospital.model_copy(update={"differences": ("/asked_minor",)})) != []


def test_every_fault_is_named_at_once() -> None:
    wrong = a_returned(class_code="G999", msg_id="A1234563", recipients=("nobody",))

    with pytest.raises(InvalidInputError) as refused:
        check_acceptance(wrong, world().directory)

    assert refused.value.code == "message.invalid"
    assert {fault.pointer for fault in refused.value.faults} == {"/class_code", "/msg_id", "/recipients/0"}


def _leaf_fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo, Any]]:
    for name, field in model.model_fields.items():
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _leaf_fields(part)
            else:
                yield name, field, part


def _parts(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif get_origin(annotation) is Literal or not get_args(annotation):
        yield annotation
    else:
        yield from (leaf for part in get_args(annotation) if part is not Ellipsis for leaf in _parts(part))


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_every_text_field_in_clear_has_a_table_an_alphabet_or_a_hash(name: str) -> None:
    free = {
        field_name
        for field_name, field, kind in _leaf_fields(MANIFESTS[name])
        if kind is str and not any(getattr(word, "pattern", None) == A_HASH for word in field.metadata)
    }

    assert free <= {*CHECKS, *PARTIES, *ELSEWHERE}


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_every_number_in_clear_has_bounds(name: str) -> None:
    unbounded = {
        field_name
        for field_name, field, kind in _leaf_fields(MANIFESTS[name])
        if kind is int and not {Ge, Le} <= {type(word) for word in field.metadata}
    }

    # the model bounds the sum of the line amounts, each of which is at least 0
    assert unbounded <= {*CHECKS, "line_amounts_minor"}


def test_every_other_kind_of_field_is_a_closed_set() -> None:
    leaves = [leaf for model in MANIFESTS.values() for leaf in _leaf_fields(model)]
    open_fields = {
        name
        for name, _, kind in leaves
        if kind not in (str, int, bool, type(None))
        and get_origin(kind) is not Literal
        and not (isinstance(kind, type) and issubclass(kind, StrEnum))
    }

    assert open_fields == {"sent_at"}
