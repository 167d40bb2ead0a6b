"""The R4 resources beside the claim: who was treated, who pays, who treated, what was consented to, what went wrong.

The subset drops on purpose what a claim does not need: addresses, telephone numbers, photographs, narrative text.
`contained` resources are no part of it: each resource is an entry of the Bundle, where it can be pointed at.
"""

from typing import ClassVar, Literal

from pydantic import Field

from gateway.protocol.fhir.elements import (
    Attachment,
    Code,
    CodeableConcept,
    Coding,
    Date,
    DateTime,
    Element,
    HumanName,
    Id,
    Identifier,
    InUse,
    Many,
    Period,
    PositiveInt,
    Reference,
    Text,
    Uri,
)


class Resource(Element):
    """What every resource has. `implicitRules` is refused, see `Element`; `contained` is left out, or never written."""

    never_read: ClassVar[frozenset[str]] = frozenset(("contained",))

    id: Id | None = None
    implicit_rules: None = None
    contained: None = None


class Patient(Resource):
    """`active`, `deceased[x]` and `link` are modifiers in R4: a record out of use or joined to another is refused."""

    resource_type: Literal["Patient"] = "Patient"
    identifier: Many[Identifier] = ()
    active: InUse | None = None
    name: Many[HumanName] = ()
    gender: Literal["male", "female", "other", "unknown"] | None = None
    birth_date: Date | None = None
    deceased_boolean: bool | None = None
    deceased_date_time: DateTime | None = None
    link: None = None


class Organization(Resource):
    """`active` is a modifier in R4: a record out of use is refused."""

    resource_type: Literal["Organization"] = "Organization"
    identifier: Many[Identifier] = ()
    active: InUse | None = None
    type: Many[CodeableConcept] = ()
    name: Text | None = None
    alias: Many[Text] = ()


class CoverageClass(Element):
    type: CodeableConcept
    value: Text
    name: Text | None = None


class Coverage(Resource):
    resource_type: Literal["Coverage"] = "Coverage"
    identifier: Many[Identifier] = ()
    status: Literal["active", "cancelled", "draft", "entered-in-error"]
    type: CodeableConcept | None = None
    policy_holder: Reference | None = None
    subscriber: Reference | None = None
    subscriber_id: Text | None = None
    beneficiary: Reference
    dependent: Text | None = None
    relationship: CodeableConcept | None = None
    period: Period | None = None
    payor: Many[Reference] = Field(min_length=1)
    class_: Many[CoverageClass] = Field(default=(), alias="class")
    order: PositiveInt | None = None


class ConsentPolicy(Element):
    authority: Uri | None = None
    uri: Uri | None = None


class ConsentActor(Element):
    role: CodeableConcept
    reference: Reference


class ConsentProvision(Element):
    """What is permitted: for how long, to whom, which acts, for which purposes and classes of content."""

    type: Literal["deny", "permit"] | None = None
    period: Period | None = None
    actor: Many[ConsentActor] = ()
    action: Many[CodeableConcept] = ()
    purpose: Many[Coding] = ()
    class_: Many[Coding] = Field(default=(), alias="class")


class Consent(Resource):
    """Consent to the transfer; the three separate consents of PIPL 23, 29 and 39 are three `action`s of a provision."""

    resource_type: Literal["Consent"] = "Consent"
    identifier: Many[Identifier] = ()
    status: Literal["draft", "proposed", "active", "rejected", "inactive", "entered-in-error"]
    scope: CodeableConcept
    category: Many[CodeableConcept] = Field(min_length=1)
    patient: Reference | None = None
    date_time: DateTime | None = None
    performer: Many[Reference] = ()
    organization: Many[Reference] = ()
    source_attachment: Attachment | None = None
    policy: Many[ConsentPolicy] = ()
    policy_rule: CodeableConcept | None = None
    provision: ConsentProvision | None = None


class OutcomeIssue(Element):
    severity: Literal["fatal", "error", "warning", "information"]
    code: Code
    details: CodeableConcept | None = None
    diagnostics: Text | None = None
    expression: Many[Text] = ()


class OperationOutcome(Resource):
    """What went wrong; `GatewayError.operation_outcome` builds the same shape."""

    resource_type: Literal["OperationOutcome"] = "OperationOutcome"
    issue: Many[OutcomeIssue] = Field(min_length=1)
