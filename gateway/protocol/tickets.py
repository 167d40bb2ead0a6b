"""The ticket that an operator names beside a reason: where it is told in full, since free text is not logged.

A ticket stands in clear in the log, hence it must not be the number of a person.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from gateway.protocol.acceptance import names_a_person

TICKET_FORM = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,39}"


def is_ticket(text: str) -> bool:
    """Tell whether `text` has the form of a ticket and is no number of a person."""
    return re.fullmatch(TICKET_FORM, text) is not None and not names_a_person(text)


def _of_nobody(text: str) -> str:
    if names_a_person(text):
        raise PydanticCustomError("names-a-person", "a ticket holds the number of a person")
    return text


Ticket = Annotated[str, Field(pattern=f"^{TICKET_FORM}$"), AfterValidator(_of_nobody)]
