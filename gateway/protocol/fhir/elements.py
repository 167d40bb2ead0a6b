"""The primitives and datatypes of HL7 FHIR R4 (4.0.1) that a dossier uses, frozen, under R4's own names on the wire.

Attributes are snake_case, the wire is camelCase. Dates stay strings as written, since R4 allows `2026` and `2026-03`
and a round trip keeps them; decimals stay `Decimal` with the digits as written. An author builds with these classes
and cannot add an unknown element; how a reader treats one is told in `wire.py`.
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.money import Money

T = TypeVar("T")
Many = Annotated[tuple[T, ...], Field(strict=False)]
"""A repeating element; nothing of it is `()` here and absent on the wire."""

_YEAR, _MONTH, _DAY = r"[0-9]{4}", r"-(?:0[1-9]|1[0-2])", r"-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{1,32})?(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"
"""As R4 writes it, also with a leap second and with any number of decimals, here at most 32."""
_DATE = re.compile(rf"{_YEAR}(?:{_MONTH}(?:{_DAY})?)?")
_DATE_TIME = re.compile(rf"{_YEAR}(?:{_MONTH}(?:{_DAY}(?:{_TIME})?)?)?")
_INSTANT = re.compile(rf"{_YEAR}{_MONTH}{_DAY}{_TIME}")
_DECIMAL_DIGITS_MAX = 18
_DECIMAL_EXPONENT_MIN = -8


def _dated(form: re.Pattern[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if form.fullmatch(text) is None:
            raise ValueError("not of the form")
        if "T" in text:
            _moment(text)
        else:
            date.fromisoformat(text + "-01-01"[len(text) - 4 :])
        return text

    return check


def _moment(text: str) -> datetime:
    """Read a time; a leap second counts as the second before it, for Python has none."""
    return datetime.fromisoformat(re.sub(r":60(?=[.Z+-])", ":59", text, count=1))


def _to_decimal(value: object) -> Decimal:
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        raise ValueError("not a decimal")
    _, digits, exponent = value.as_tuple()
    if len(digits) > _DECIMAL_DIGITS_MAX or not _DECIMAL_EXPONENT_MIN <= int(exponent) <= 0:
        raise ValueError("not a decimal of 18 digits")
    return value


Text = Annotated[str, StringConstraints(min_length=1)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9\-.]{1,64}$")]
"""A logical id; R4 allows no underscore, so an id of ours stands in an `Identifier` instead."""

Code = Annotated[str, StringConstraints(pattern=r"^[^\s]+( [^\s]+)*$")]
Uri = Annotated[str, StringConstraints(pattern=r"^\S+$")]
Date = Annotated[str, AfterValidator(_dated(_DATE))]
DateTime = Annotated[str, AfterValidator(_dated(_DATE_TIME))]
Instant = Annotated[str, AfterValidator(_dated(_INSTANT))]


def _in_use(active: bool) -> bool:
    if not active:
        raise ValueError("out of use")
    return active


InUse = Annotated[bool, AfterValidator(_in_use)]
"""R4's `active`: true where it stands."""

PositiveInt = Annotated[int, Field(ge=1, le=2**31 - 1)]
FhirDecimal = Annotated[Decimal, BeforeValidator(_to_decimal)]
"""A decimal with the digits as written: at most 18, at most 8 of them after the point, never a float."""


class Element(BaseModel):
    """The root of datatypes and resources: frozen, strict, and closed to its author.

    Elements that R4 marks `isModifier` are fields also where the subset has no use for them, with the values that the
    gateway understands. `modifierExtension` and `implicitRules` may turn the meaning of what they stand in, so a reader
    that does not know them must not read on (R4 section 2.1.0.1): no value is accepted.
    """

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, frozen=True, strict=True, extra="forbid")

    never_read: ClassVar[frozenset[str]] = frozenset()
    """Names on the wire that a tolerant reader leaves out although there is a field, which an author may not fill."""

    id: Text | None = None
    extension: "Many[Extension]" = ()
    modifier_extension: None = None


class Coding(Element):
    system: Uri | None = None
    version: Text | None = None
    code: Code | None = None
    display: Text | None = None


class CodeableConcept(Element):
    coding: Many[Coding] = ()
    text: Text | None = None

    @classmethod
    def of(cls, system: str, code: str, display: str | None = None) -> Self:
        """Make the concept of one code of one system."""
        return cls(coding=(Coding(system=system, code=code, display=display),))

    def code_of(self, system: str) -> str | None:
        """Return the code this concept has in `system`, if any."""
        return next((coding.code for coding in self.coding if coding.system == system), None)


class Period(Element):
    """Dates from `start` to `end`, both included; an end before its start is refused (R4 invariant per-1)."""

    start: DateTime | None = None
    end: DateTime | None = None

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.start is not None and self.end is not None and _is_before(self.end, self.start):
            raise ValueError("ends before it starts")
        return self


def _is_before(earlier: str, later: str) -> bool:
    if "T" in earlier and "T" in later:
        return _moment(earlier) < _moment(later)
    shared = min(len(earlier), len(later), 10)
    return earlier[:shared] < later[:shared]


class Identifier(Element):
    """`use` is a modifier in R4: an `old` identifier names nothing any more, and is never looked up."""

    use: Literal["usual", "official", "temp", "secondary", "old"] | None = None
    type: CodeableConcept | None = None
    system: Uri | None = None
    value: Text | None = None
    period: Period | None = None


class Reference(Element):
    """A pointer to another resource: `reference` as `Patient/1` or a `fullUrl`, or the business `identifier` alone."""

    reference: Text | None = None
    type: Uri | None = None
    identifier: Identifier | None = None
    display: Text | None = None


class Quantity(Element):
    """`comparator` is a modifier in R4: a value that is only a bound is refused."""

    value: FhirDecimal | None = None
    comparator: None = None
    unit: Text | None = None
    system: Uri | None = None
    code: Code | None = None


class FhirMoney(Element):
    """R4's Money: a JSON number and an ISO 4217 code. Inside the gateway money is `gateway.protocol.money.Money`."""

    value: FhirDecimal | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None


class HumanName(Element):
    """`use` is a modifier in R4, of a closed list."""

    use: Literal["usual", "official", "temp", "nickname", "anonymous", "old", "maiden"] | None = None
    text: Text | None = None
    family: Text | None = None
    given: Many[Text] = ()


class Attachment(Element):
    """A document by name: `url` and an extension carry its SHA-256 and key; R4's own `hash` is SHA-1 and not used."""

    content_type: Code | None = None
    language: Code | None = None
    url: Uri | None = None
    size: Annotated[int, Field(ge=0)] | None = None
    title: Text | None = None
    creation: DateTime | None = None


class Extension(Element):
    """A fact beyond R4 under its own `url`: one value, or extensions inside (R4 invariant ext-1)."""

    url: Uri
    value_boolean: bool | None = None
    value_code: Code | None = None
    value_date: Date | None = None
    value_date_time: DateTime | None = None
    value_decimal: FhirDecimal | None = None
    value_integer: int | None = None
    value_string: Text | None = None
    value_uri: Uri | None = None
    value_codeable_concept: CodeableConcept | None = None
    value_identifier: Identifier | None = None
    value_money: FhirMoney | None = None
    value_period: Period | None = None
    value_quantity: Quantity | None = None
    value_reference: Reference | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        values = [
            name for name in self.model_fields_set if name.startswith("value_") and getattr(self, name) is not None
        ]
        if len(values) + bool(self.extension) != 1:
            raise ValueError("neither one value nor extensions")
        return self


Element.model_rebuild()  # its extensions are known from here on, also to the classes of other modules


def money_of(amount: FhirMoney) -> Money:
    """Turn R4 money into `Money`; no value, no currency or a part of a minor unit is `MalformedInputError`."""
    if amount.value is None or amount.currency is None:
        raise MalformedInputError("money.malformed")
    minor = amount.value.scaleb(2)
    if minor != minor.to_integral_value():
        raise MalformedInputError("money.malformed")
    return Money(int(minor), amount.currency)


def fhir_money_of(amount: Money) -> FhirMoney:
    """Turn `Money` into R4 money with exactly two decimals, e.g. 1200.00."""
    return FhirMoney(value=Decimal(str(amount)), currency=amount.currency)
