"""The closed set of what a dispute may name: how far the dossier was read, or a field of the answered manifest.

A difference travels in clear, so it is a place and never a value. The places are generated from the manifest's model:
`/asked_minor`, `/line_amounts_minor/13`, `/entries/0/benefit_minor`; a list index is below 5,000.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from gateway.protocol.claim_terms import LINES_MAX
from gateway.protocol.errors import BadSignatureError, Fault, RefuseError
from gateway.protocol.exchange import Message
from gateway.protocol.message_spec import Author
from gateway.protocol.messages import SPECS
from gateway.protocol.messages.disputed import DisputedManifest

CANNOT_OPEN = "/dossier"
"""The dossier is missing, is no JWE that can be read, or is not sealed to the reader's key."""
OTHER_CONTENT = "/content_sha256"
"""The dossier opens, and its bytes are not those whose hash the author signed."""
UNREADABLE = "/content"
"""The dossier opens to the signed bytes, and they are no content that can be read."""

DIFFERENCES_MAX = 50

_STAGES = frozenset((CANNOT_OPEN, OTHER_CONTENT, UNREADABLE))
_INDEX = r"(?:0|[1-9][0-9]{0,3})"


def _sealed_by(author: Author) -> tuple[type[Message], ...]:
    return tuple(spec.model for spec in SPECS.values() if spec.has_dossier and author in spec.authors)


BY_INSURER = _sealed_by(Author.HOSPITAL)
BY_HOSPITAL = _sealed_by(Author.INSURER)
"""The manifests that each kind of party answers with a dispute: those with content, of the other party."""


def difference_of(error: RefuseError) -> str:
    """Tell what the failure of `open_dossier` means in a dispute."""
    opened = isinstance(error, BadSignatureError) and error.code == "dossier.content"
    return OTHER_CONTENT if opened else CANNOT_OPEN


def is_difference(text: str, answered: Sequence[type[Message]]) -> bool:
    """Tell whether `text` is of the closed set for a dispute of one of these manifests."""
    return text in _STAGES or any(_points_into(model, text) for model in answered)


def difference_faults(manifest: DisputedManifest, answered: Sequence[type[Message]]) -> list[Fault]:
    """Name what is wrong with the differences of a dispute: none, too many, twice the same, or one not of the set."""
    differences = manifest.differences
    faults = []
    if not differences:
        faults.append(Fault("dispute.no-difference", "/differences"))
    if len(differences) > DIFFERENCES_MAX:
        faults.append(Fault("field.too-long", "/differences"))
    return faults + [
        Fault("dispute.difference-unknown", f"/differences/{index}")
        for index, text in enumerate(differences)
        if not is_difference(text, answered)
    ]


def _points_into(model: type[Message], text: str) -> bool:
    return _pointer_form(model).fullmatch(text) is not None and all(
        int(step) < LINES_MAX for step in text.split("/") if step.isdecimal()
    )


@cache
def _pointer_form(model: type[BaseModel]) -> re.Pattern[str]:
    """Build the form of every pointer into a message of `model`."""
    return re.compile("|".join(_forms(model)), re.ASCII)


def _forms(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield from (f"/{name}{rest}" for rest in _forms_of(field.annotation))


def _forms_of(annotation: Any) -> Iterator[str]:
    """Yield what may follow the name of a field of this type: nothing, an index, a field of the model in it."""
    yield ""
    if get_origin(annotation) is tuple:
        yield from (f"/{_INDEX}{rest}" for rest in _forms_of(get_args(annotation)[0]))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _forms(annotation)
    else:
        yield from (rest for part in get_args(annotation) for rest in _forms_of(part) if rest)


def answered_by(kind: str) -> tuple[type[Message], ...]:
    """Return the manifests that a party of this kind disputes; everybody but a hospital reads claims."""
    return BY_HOSPITAL if kind == "hospital" else BY_INSURER
