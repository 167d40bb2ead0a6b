"""The insurer's decision: entries in clear that balance, reasons and texts sealed.

Each entry covers lines by index (0-based, order of `line_amounts_minor`); per entry the covered amounts equal
benefit + patient share + other payer + adjusted, so that every fen of the bill is explained. The signed *decided*
manifest is also the settlement instruction.
"""

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.protocol.claim_life import Event
from gateway.protocol.exchange import Manifest, Message, MessageId
from gateway.protocol.message_spec import Author, Content, MessageSpec
from gateway.protocol.money import AMOUNT_MINOR_MAX
from gateway.protocol.topics import HOSPITAL_NOTICES, INSURER_RESPONSES

Bearer = Literal["patient", "other_payer", "hospital", "undecided"]


class Entry(Message):
    """What happens to some lines. `adjusted` names its bearer; `hospital` only where the contract lists the code."""

    lines: tuple[int, ...] = Field(min_length=1, strict=False)
    benefit_minor: int = Field(ge=0, le=AMOUNT_MINOR_MAX)
    patient_minor: int = Field(ge=0, le=AMOUNT_MINOR_MAX)
    other_payer_minor: int = Field(ge=0, le=AMOUNT_MINOR_MAX)
    adjusted_minor: int = Field(ge=0, le=AMOUNT_MINOR_MAX)
    bearer: Bearer | None = None
    class_code: str | None = Field(default=None, pattern=r"^G[0-9]{3}$")

    @property
    def sum_minor(self) -> int:
        return self.benefit_minor + self.patient_minor + self.other_payer_minor + self.adjusted_minor

    @model_validator(mode="after")
    def _says_who_bears(self) -> Self:
        if (self.adjusted_minor > 0) != (self.bearer is not None):
            raise PydanticCustomError("bearer", "an adjustment and its bearer go together")
        if self.benefit_minor != self.sum_minor and self.class_code is None:
            raise PydanticCustomError("class-code", "what is not paid carries a class code")
        return self


class DecidedManifest(Manifest):
    """A decision. `final` closes the claim's adjudication; only a final decision moves money."""

    type: Literal["decided"] = "decided"
    based_on: int
    in_reply_to: MessageId
    decision_version: int = Field(ge=1)
    currency: Literal["CNY", "HKD"]
    final: bool
    entries: tuple[Entry, ...] = Field(min_length=1, strict=False)

    @property
    def benefit_minor(self) -> int:
        return sum(entry.benefit_minor for entry in self.entries)


SPEC = MessageSpec(
    name="decided",
    model=DecidedManifest,
    topics=(INSURER_RESPONSES, HOSPITAL_NOTICES),
    authors=frozenset((Author.INSURER,)),
    content=Content.SEALED,
    claim_events=(Event.DECIDE, Event.DECIDE_PARTLY),
)
