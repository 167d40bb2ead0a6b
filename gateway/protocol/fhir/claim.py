"""R4 Claim: a hospital's bill as it stands in a dossier. `use` also makes it a preauthorisation or an estimate.

Care teams, prescriptions and accident facts are not in the subset. `detail` of an item carries the lines that were
netted into it, e.g. a charge and its refund; `net` of the item counts.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from gateway.protocol.fhir.elements import (
    Attachment,
    CodeableConcept,
    Date,
    DateTime,
    Element,
    FhirDecimal,
    FhirMoney,
    Identifier,
    Many,
    Period,
    PositiveInt,
    Quantity,
    Reference,
    Text,
)
from gateway.protocol.fhir.resources import Resource


class Payee(Element):
    type: CodeableConcept
    party: Reference | None = None


class RelatedClaim(Element):
    """The claim that this one replaces or belongs to."""

    claim: Reference | None = None
    relationship: CodeableConcept | None = None


class SupportingInfo(Element):
    """A fact or a document beside the lines: a receipt, a payment made, a discharge summary."""

    sequence: PositiveInt
    category: CodeableConcept
    code: CodeableConcept | None = None
    timing_date: Date | None = None
    timing_period: Period | None = None
    value_boolean: bool | None = None
    value_string: Text | None = None
    value_quantity: Quantity | None = None
    value_attachment: Attachment | None = None
    value_reference: Reference | None = None
    reason: CodeableConcept | None = None


class Diagnosis(Element):
    """`diagnosis[x]` is a code, or a reference to a Condition that the subset does not carry."""

    sequence: PositiveInt
    diagnosis_codeable_concept: CodeableConcept | None = None
    diagnosis_reference: Reference | None = None
    type: Many[CodeableConcept] = ()
    on_admission: CodeableConcept | None = None

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if (self.diagnosis_codeable_concept is None) == (self.diagnosis_reference is None):
            raise ValueError("neither a code nor a reference, or both")
        return self


class Procedure(Element):
    """`procedure[x]` is a code, or a reference to a Procedure that the subset does not carry."""

    sequence: PositiveInt
    type: Many[CodeableConcept] = ()
    date: DateTime | None = None
    procedure_codeable_concept: CodeableConcept | None = None
    procedure_reference: Reference | None = None

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if (self.procedure_codeable_concept is None) == (self.procedure_reference is None):
            raise ValueError("neither a code nor a reference, or both")
        return self


class Insurance(Element):
    sequence: PositiveInt
    focal: bool
    identifier: Identifier | None = None
    coverage: Reference
    pre_auth_ref: Many[Text] = ()


class ItemDetail(Element):
    sequence: PositiveInt
    category: CodeableConcept | None = None
    product_or_service: CodeableConcept
    quantity: Quantity | None = None
    unit_price: FhirMoney | None = None
    factor: FhirDecimal | None = None
    net: FhirMoney | None = None


class Item(Element):
    """One line; `category` is the national charge category, programme evidence stands in `extension`."""

    sequence: PositiveInt
    diagnosis_sequence: Many[PositiveInt] = ()
    procedure_sequence: Many[PositiveInt] = ()
    information_sequence: Many[PositiveInt] = ()
    category: CodeableConcept | None = None
    product_or_service: CodeableConcept
    modifier: Many[CodeableConcept] = ()
    program_code: Many[CodeableConcept] = ()
    serviced_date: Date | None = None
    serviced_period: Period | None = None
    quantity: Quantity | None = None
    unit_price: FhirMoney | None = None
    factor: FhirDecimal | None = None
    net: FhirMoney | None = None
    udi: Many[Reference] = ()
    body_site: CodeableConcept | None = None
    detail: Many[ItemDetail] = ()


class Claim(Resource):
    resource_type: Literal["Claim"] = "Claim"
    identifier: Many[Identifier] = ()
    status: Literal["active", "cancelled", "draft", "entered-in-error"]
    type: CodeableConcept
    sub_type: CodeableConcept | None = None
    use: Literal["claim", "preauthorization", "predetermination"]
    patient: Reference
    billable_period: Period | None = None
    created: DateTime
    enterer: Reference | None = None
    insurer: Reference | None = None
    provider: Reference
    priority: CodeableConcept
    related: Many[RelatedClaim] = ()
    payee: Payee | None = None
    facility: Reference | None = None
    supporting_info: Many[SupportingInfo] = ()
    diagnosis: Many[Diagnosis] = ()
    procedure: Many[Procedure] = ()
    insurance: Many[Insurance] = Field(min_length=1)
    item: Many[Item] = ()
    total: FhirMoney | None = None
