"""R4 ClaimResponse: an insurer's decision as it stands in a dossier, without payment: money follows its own messages.

`addItem` is refused, not ignored: it grants money for lines that nobody claimed, while an answer of the gateway covers
each line of the bill once.
"""

from typing import Literal

from pydantic import Field

from gateway.protocol.fhir.claim import Insurance
from gateway.protocol.fhir.elements import (
    CodeableConcept,
    DateTime,
    Element,
    FhirDecimal,
    FhirMoney,
    Identifier,
    Many,
    Period,
    PositiveInt,
    Reference,
    Text,
)
from gateway.protocol.fhir.resources import Resource


class Adjudication(Element):
    """One figure of an answer; `category` is submitted, eligible, copay, deductible, benefit …, `reason` a G code."""

    category: CodeableConcept
    reason: CodeableConcept | None = None
    amount: FhirMoney | None = None
    value: FhirDecimal | None = None


class ResponseItem(Element):
    item_sequence: PositiveInt
    note_number: Many[PositiveInt] = ()
    adjudication: Many[Adjudication] = Field(min_length=1)


class ResponseTotal(Element):
    category: CodeableConcept
    amount: FhirMoney


class ProcessNote(Element):
    """A text to the hospital or the patient; `language` is a BCP 47 tag as a code."""

    number: PositiveInt | None = None
    type: Literal["display", "print", "printoper"] | None = None
    text: Text
    language: CodeableConcept | None = None


class ResponseError(Element):
    item_sequence: PositiveInt | None = None
    code: CodeableConcept


class ClaimResponse(Resource):
    resource_type: Literal["ClaimResponse"] = "ClaimResponse"
    identifier: Many[Identifier] = ()
    status: Literal["active", "cancelled", "draft", "entered-in-error"]
    type: CodeableConcept
    sub_type: CodeableConcept | None = None
    use: Literal["claim", "preauthorization", "predetermination"]
    patient: Reference
    created: DateTime
    insurer: Reference
    requestor: Reference | None = None
    request: Reference | None = None
    outcome: Literal["queued", "complete", "error", "partial"]
    disposition: Text | None = None
    pre_auth_ref: Text | None = None
    pre_auth_period: Period | None = None
    payee_type: CodeableConcept | None = None
    item: Many[ResponseItem] = ()
    add_item: None = None
    adjudication: Many[Adjudication] = ()
    total: Many[ResponseTotal] = ()
    process_note: Many[ProcessNote] = ()
    insurance: Many[Insurance] = ()
    error: Many[ResponseError] = ()
