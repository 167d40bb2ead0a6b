"""What people send to the desk: a decision or a return as JSON, read strictly, every fault named, no value kept.

Amounts are decimal strings in the claim's currency. Texts come by language and go into the sealed part only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from gateway.client.authoring import DecisionEntry
from gateway.protocol.claim_life import Event
from gateway.protocol.claim_terms import LINES_MAX
from gateway.protocol.errors import Fault, InvalidInputError, RefuseError
from gateway.protocol.exchange import Message, faults_of
from gateway.protocol.messages.decided import Bearer
from gateway.protocol.money import Money
from gateway.protocol.reasons import REASONS

M = TypeVar("M", bound=Message)

TEXT_CHARACTERS_MAX = 2000
AMOUNTS = ("benefit", "patient", "other_payer", "adjusted")

_Text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS_MAX)]


class TextForm(Message):
    """English is required, Chinese is welcome."""

    en: _Text
    zh_hans: _Text | None = None
    zh_hant: _Text | None = None

    def by_language(self) -> dict[str, str]:
        """Return text by BCP 47 tag."""
        found = (("en", self.en), ("zh-Hans", self.zh_hans), ("zh-Hant", self.zh_hant))
        return {tag: text for tag, text in found if text is not None}


class EntryForm(Message):
    """That something is decided about some line is checked where the decision is balanced."""

    lines: tuple[int, ...] = Field(max_length=LINES_MAX, strict=False)
    benefit: str
    patient: str
    other_payer: str
    adjusted: str
    bearer: Bearer | None = None
    class_code: str | None = None
    text: TextForm | None = None


class DecisionForm(Message):
    final: bool
    entries: tuple[EntryForm, ...] = Field(max_length=LINES_MAX, strict=False)
    text: TextForm | None = None
    """A word on the whole."""


class ReturnForm(Message):
    class_code: str
    text: TextForm


@dataclass(frozen=True, slots=True)
class ReadDecision:
    final: bool
    entries: tuple[DecisionEntry, ...]
    texts: Mapping[str, str]

    @property
    def event(self) -> Event:
        return Event.DECIDE if self.final else Event.DECIDE_PARTLY


def read_decision(found: Mapping[str, Any], currency: str) -> ReadDecision:
    """Read a decision; `InvalidInputError` names every fault of form, amount and code at once."""
    form = _parse(DecisionForm, found)
    faults: list[Fault] = []
    entries = tuple(_entry(entry, f"/entries/{index}", currency, faults) for index, entry in enumerate(form.entries))
    if faults:
        raise InvalidInputError("request.invalid", faults=faults)
    return ReadDecision(form.final, entries, form.text.by_language() if form.text else {})


def read_return(found: Mapping[str, Any]) -> ReturnForm:
    """Read a return; the class code must be one of the gateway's."""
    form = _parse(ReturnForm, found)
    if form.class_code not in REASONS:
        raise InvalidInputError("request.invalid", faults=[Fault("reason.unknown", "/class_code")])
    return form


def read_nothing(found: Mapping[str, Any]) -> None:
    """Read a form without fields; what stands in it all the same is a fault."""
    _parse(Message, found)


def _entry(form: EntryForm, where: str, currency: str, faults: list[Fault]) -> DecisionEntry:
    amounts = {name: _amount(getattr(form, name), f"{where}/{name}", currency, faults) for name in AMOUNTS}
    if form.class_code is not None and form.class_code not in REASONS:
        faults.append(Fault("reason.unknown", f"{where}/class_code"))
    return DecisionEntry(
        lines=form.lines,
        benefit_minor=amounts["benefit"],
        patient_minor=amounts["patient"],
        other_payer_minor=amounts["other_payer"],
        adjusted_minor=amounts["adjusted"],
        bearer=form.bearer,
        class_code=form.class_code,
        texts=form.text.by_language() if form.text else {},
    )


def _amount(text: str, where: str, currency: str, faults: list[Fault]) -> int:
    try:
        amount_minor = Money.parse(text, currency).amount_minor
    except RefuseError as error:
        faults.append(Fault(error.code, where))
        return 0
    if amount_minor < 0:
        faults.append(Fault("money.negative", where))
    return amount_minor


def _parse(model: type[M], found: Mapping[str, Any]) -> M:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        faults = [Fault(fault.code, _known_place(fault.pointer), fault.facts) for fault in faults_of(error)]
    raise InvalidInputError("request.invalid", faults=faults)


_NAMES = frozenset(name for form in (DecisionForm, EntryForm, ReturnForm, TextForm) for name in form.model_fields)


def _known_place(pointer: str) -> str:
    """Cut a pointer at the first name that is not ours: an unknown member's name was sent, so its parent stands."""
    steps = takewhile(lambda step: step.isdecimal() or step in _NAMES, pointer.split("/")[1:])
    return "".join(f"/{step}" for step in steps)
