"""What of a bill crosses: in clear the allow-list, in the dossier what the insurer must see, and nothing else."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sz.dossier import Submission
from adapters.sz.minimise import Minimised, minimise, token
from adapters.sz.pins import check_pinned, load_pins
from adapters.sz.r4_json import encode, lexical
from gateway.client.comparison import compare
from gateway.protocol.canonical import compact, read_json_object, sha256_hex
from gateway.protocol.claim_terms import Eligibility
from gateway.protocol.errors import MalformedInputError, UnavailableError
from gateway.protocol.exchange import content_hash, unpack
from gateway.protocol.fhir import systems
from gateway.protocol.fhir.claim import Claim
from gateway.protocol.fhir.resources import Consent, Patient
from gateway.protocol.fhir.wire import read_bundle
from gateway.protocol.jose import PublicKey
from gateway.protocol.uses import EMPTY
from tests.hospital_bills import SAMPLES, changed, findings_of, sample
from tests.parties import HOSPITAL, INSURER, NOW

KEY = b"synthetic token key 32 bytes long"
AMOUNTS = st.decimals(min_value=-(10**9), max_value=10**9, places=4)
NONCE, SALT = b"n" * 32, b"s" * 32


def crossing(raw: bytes = sample(), *, key: bytes = KEY) -> Minimised:
    findings = findings_of(raw)
    assert findings.faults == ()
    assert findings.route is not None
    submission = Submission(
        bill=findings.bill,
        netted=findings.netted,
        hospital=HOSPITAL,
        route=findings.route,
        msg_id="msg_synthetic0001",
        case_id="case_synthetic0001",
        claim_id="claim_synthetic0001",
        claim_version=1,
        nonce=NONCE,
        salt=SALT,
        at=NOW,
    )
    return minimise(submission, key, EMPTY.sha256)


def clear(made: Minimised) -> str:
    return compact(made.manifest.model_dump(mode="json", exclude_none=True)).decode()


@pytest.mark.parametrize("name", SAMPLES)
def test_content_and_manifest_agree_as_the_insurers_client_compares_them(name: str) -> None:
    made = crossing(sample(name))

    content = read_bundle(unpack(made.packed), refuse_unknown=True)

    assert compare(content, made.manifest) == ()
    assert content_hash(made.packed) == made.manifest.content_sha256


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_in_clear_says_who_the_patient_is_or_what_the_patient_has_got(name: str) -> None:
    bill = findings_of(sample(name)).bill
    secrets = [
        bill.patient.name,
        bill.patient.certificate_no,
        bill.coverage.hkid,
        "QQ0000",
        bill.coverage.policy_number,
        bill.coverage.residency,
        bill.billing.claim_number,
        bill.visit.visit_id,
        *(receipt.number for receipt in bill.receipts),
        *(diagnosis.code for diagnosis in bill.diagnoses),
        *(line.name for line in bill.lines),
        *(line.national_code for line in bill.lines if line.national_code),
        bill.consent.consent_id,
        "GHV-0004",
    ]

    shown = clear(crossing(sample(name)))

    assert [secret for secret in secrets if secret in shown] == []
    assert re.search(r"[\u4e00-\u9fff]", shown) is None


def test_personal_extras_doctors_and_item_levels_are_in_no_part_of_the_message() -> None:
    content = unpack(crossing().packed).decode()

    for left in ("合成地址", "合成联系人", "合成医师", '00000000"', "心血管内科", "丙", "curr_addr", "SYN-SETL"):
        assert left not in content
    assert "测试甲" in content
    assert "双腔" in content


def test_lines_are_netted_before_they_cross_and_the_pairs_stay_in_the_dossier() -> None:
    made = crossing()

    claim = read_bundle(unpack(made.packed)).one(Claim)
    serials = [extension.value_string for item in claim.item for extension in item.extension if extension.value_string]
    assert len(made.manifest.line_amounts_minor) == len(claim.item) == 14
    assert all(amount > 0 for amount in made.manifest.line_amounts_minor)
    assert not {"SYN-0012", "SYN-0015", "SYN-0016"} & set(serials)
    [partly] = [item for item in claim.item if item.detail]
    assert [str(detail.net.value) for detail in partly.detail if detail.net] == ["74.10", "-24.70"]
    [whole] = [extension for extension in claim.extension if extension.url == systems.REFUNDED_LINE]
    assert [part.url for part in whole.extension] == ["original", "refund"]


def test_programme_lines_are_counted_and_undetermined_under_the_catalogue_release() -> None:
    with_product, without = crossing().manifest.programme, crossing(sample("inpatient-basic-fund")).manifest.programme

    assert (with_product.count, with_product.worst) == (1, Eligibility.UNDETERMINED)
    assert (without.count, without.worst) == (0, None)
    assert with_product.release_sha256 == EMPTY.sha256


def test_residency_and_consent_are_sealed_and_only_the_commitment_is_clear() -> None:
    made = crossing()

    content = read_bundle(unpack(made.packed))
    consent, patient = content.one(Consent), content.one(Patient)
    text = next(one.value_string for one in consent.extension if one.url == systems.CONSENT_TEXT)
    opened = sha256_hex(b"szhk-consent/1\n" + SALT + (text or "").encode())
    assert made.manifest.consent_commitment == opened
    assert [one.value_code for one in patient.extension if one.url == systems.RESIDENCY] == ["hong_kong"]


def test_a_receipt_gives_the_same_token_at_every_claim_of_its_hospital_and_another_one_elsewhere() -> None:
    other_claim = compact(changed("/billing/claim_number", "SYN-2026-0099"))

    first, second, elsewhere = crossing(), crossing(other_claim), crossing(key=b"another hospital's token key")

    assert first.manifest.receipt_tokens == second.manifest.receipt_tokens
    assert first.manifest.claim_token != second.manifest.claim_token
    assert first.manifest.receipt_tokens != elsewhere.manifest.receipt_tokens
    assert token(KEY, "claim", "1") != token(KEY, "receipt", "1")


def test_the_same_submission_gives_the_same_bytes() -> None:
    first, second = crossing(), crossing()

    assert (first.packed, clear(first)) == (second.packed, clear(second))


def test_amounts_in_the_dossier_keep_the_digits_the_hospital_wrote() -> None:
    content = unpack(crossing().packed)

    assert b'"value":3.1275' in content
    assert b'"value":53878.84' in content


# Pins


def test_a_key_that_is_not_pinned_is_refused_whoever_it_is_said_to_be() -> None:
    pins = {INSURER: frozenset({"pinned"})}

    check_pinned(pins, INSURER, PublicKey("ins-harbour/seal/1", "X25519", "pinned"))
    for party, x in ((INSURER, "other"), ("ins-lantau", "pinned")):
        with pytest.raises(UnavailableError, match=r"pin\.unknown-key"):
            check_pinned(pins, party, PublicKey(f"{party}/seal/1", "X25519", x))


def test_a_pins_file_is_read_or_refused_whole(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    path.write_text('{"ins-harbour": ["a", "b"]}')

    assert load_pins(path) == {"ins-harbour": frozenset({"a", "b"})}
    for wrong in ('{"ins-harbour": "a"}', '{"ins-harbour": [1]}', "[]"):
        path.write_text(wrong)
        with pytest.raises(MalformedInputError):
            load_pins(path)


# Writing


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10), AMOUNTS),
        max_size=6,
    )
)
def test_decimals_are_written_as_numbers_with_their_digits_and_texts_stay_texts(
    written: list[tuple[str, Decimal]],
) -> None:
    read = read_json_object(
        encode({"a": [{"text": text, "value": lexical(amount)} for text, amount in written]}), decimals=True
    )

    assert [one["text"] for one in read["a"]] == [text for text, _ in written]
    assert [f"{Decimal(one['value']):f}" for one in read["a"]] == [f"{amount:f}" for _, amount in written]


def test_what_json_has_no_type_for_is_refused() -> None:
    with pytest.raises(ValueError, match="serialize"):
        encode({"a": object()})
