from pathlib import Path

from settlement.iso20022.pain001 import write_pain001
from tests.settlement_builders import a_payment

GOLDEN = Path(__file__).parent / "pain001-two-obligations.xml"


def test_a_payment_of_two_obligations_is_written_byte_for_byte_as_before() -> None:
    assert write_pain001(a_payment(), None) == GOLDEN.read_bytes()
