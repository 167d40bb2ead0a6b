"""A bill on its way out: what its message says in clear, and what its dossier holds before it is sealed."""

from adapters.sz.dossier import Submission
from adapters.sz.minimise import Minimised, minimise
from gateway.protocol.exchange import unpack
from gateway.protocol.uses import EMPTY
from tests.hospital_bills import findings_of
from tests.parties import HOSPITAL, NOW

TOKEN_KEY = b"synthetic token key 32 bytes long"


def crossing(raw: bytes) -> Minimised:
    """Minimise a bill that has no faults, with every random part fixed."""
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
        nonce=b"n" * 32,
        salt=b"s" * 32,
        at=NOW,
    )
    return minimise(submission, TOKEN_KEY, EMPTY.sha256)


def dossier_of(raw: bytes) -> str:
    return unpack(crossing(raw).packed).decode()
