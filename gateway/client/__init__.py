"""The typed Python client for hospitals' and insurers' engineers, treasurers and auditors.

One profile file names a party, its keys and where the gateway is; one class a kind of party does the rest: tokens,
retries with the same key, receipts verified, dossiers opened and compared, decisions balanced before they are signed.
"""

from gateway.client.auditor import AuditorClient
from gateway.client.authoring import Author, Authored, DecisionEntry
from gateway.client.hospital import HospitalClient, Receipt
from gateway.client.insurer import InsurerClient, Sent
from gateway.client.opened import OpenedClaim, OpenedLine, compare
from gateway.client.profile import Profile, ProfileFileError
from gateway.client.transport import ApiProblem, Retry, Session
from gateway.client.treasurer import TreasurerClient

__all__ = [
    "ApiProblem",
    "AuditorClient",
    "Author",
    "Authored",
    "DecisionEntry",
    "HospitalClient",
    "InsurerClient",
    "OpenedClaim",
    "OpenedLine",
    "Profile",
    "ProfileFileError",
    "Receipt",
    "Retry",
    "Sent",
    "Session",
    "TreasurerClient",
    "compare",
]
