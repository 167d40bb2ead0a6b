"""What an edge that cannot open a dossier checks of it: its form, and to whose keys it is sealed.

A dossier that nobody can open costs the hospital its money, so it is refused where it is posted, while its author
still listens. Whether it holds what was signed is seen by its readers alone.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from gateway.protocol.acceptance import names_a_person
from gateway.protocol.errors import Fault, RefuseError, UnknownKeyError
from gateway.protocol.registry import Directory, Use
from gateway.protocol.sealed import Sealed, SealedRecipient, read_sealed

PLACE = "/dossier"


def dossier_faults(dossier: str, directory: Directory, parties: Sequence[str], at: datetime) -> list[Fault]:
    """Name all that is wrong with a dossier that must be sealed to one valid seal key of each of `parties`.

    Pointers begin with `/dossier`. Key ids are looked up in the registry release that `directory` is.
    """
    try:
        sealed = read_sealed(dossier)
    except RefuseError as error:
        return [Fault(fault.code, PLACE + fault.pointer) for fault in error.faults]
    faults = [Fault(fault.code, PLACE + fault.pointer) for fault in sealed.surplus]
    faults += [
        Fault("field.names-a-person", PLACE + pointer)
        for pointer, octets in sealed.texts
        if names_a_person(octets.decode(errors="replace"))
    ]
    if len(sealed.recipients) == 1 and len(parties) > 1:
        faults.append(Fault("dossier.one-recipient", PLACE + _list_pointer(sealed)))
    return faults + list(_recipient_faults(sealed, directory, parties, at))


def _recipient_faults(sealed: Sealed, directory: Directory, parties: Sequence[str], at: datetime) -> Iterator[Fault]:
    named: set[str] = set()
    keys_are_good = True
    for recipient in sealed.recipients:
        code, party = _key_fault(recipient, directory, parties, at)
        if code is None and party in named:
            code = "dossier.recipient-twice"
        if code is not None:
            keys_are_good = False
            yield Fault(code, PLACE + recipient.kid_pointer)
        elif party is not None:
            named.add(party)
    if keys_are_good and len(sealed.recipients) > 1 and not named >= set(parties):
        yield Fault("dossier.recipient-missing", PLACE + _list_pointer(sealed))


def _key_fault(
    recipient: SealedRecipient, directory: Directory, parties: Sequence[str], at: datetime
) -> tuple[str | None, str | None]:
    """Return what is wrong with a recipient's key id, if anything, and whose key it is."""
    if recipient.kid is None:
        return "dossier.key-id-missing", None
    try:
        holder = directory.holder(recipient.kid)
    except UnknownKeyError:
        return "dossier.key-unknown", None
    row, party = holder.row, holder.party.code
    if party not in parties:
        return "dossier.recipient-not-on-route", party
    if row.use is not Use.SEAL:
        return "dossier.key-does-not-seal", party
    if row.compromised_at is not None or not row.valid_from <= at < row.valid_to:
        return "dossier.key-not-valid", party
    return None, party


def _list_pointer(sealed: Sealed) -> str:
    """Return the place of the list of recipients; in flattened form it is the dossier itself."""
    return "/recipients" if sealed.recipients[0].pointer else ""
