"""Check digits and forms that identifier schemes share. Characters are ASCII: full-width digits never pass.

Each `*_check` function computes the check of a body and trusts that the caller has matched the form before.
"""

import re
import string
from collections.abc import Callable, Sequence
from typing import NoReturn

from gateway.protocol.errors import MalformedInputError

GB_11643_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
GB_11714_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
GB_32100_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
GB_32100_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""31 characters: the letters I, O, S, V and Z are never used."""

HIBC_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%"
"""43 characters in the order of Code 39."""

_HKID_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ "


def refuse(scheme: str) -> NoReturn:
    """Raise the one error of every identifier parser; it names the scheme and never the text."""
    raise MalformedInputError(f"identifier.{scheme}")


def of_form(scheme: str, pattern: str, normal: Callable[[str], str] | None = None) -> Callable[[str], str]:
    """Build the parser of a scheme that has a form and no check digit; `normal` folds the letters' case, if any.

    Only ASCII letters have a case here: other alphabets are left as they are, and refused.
    """
    form = re.compile(pattern)

    def parse(text: str) -> str:
        folded = normal(text) if normal is not None else text
        if form.fullmatch(folded) is None:
            refuse(scheme)
        return folded

    return parse


def ascii_upper(text: str) -> str:
    """Put ASCII letters, and no others, in upper case: a dotless i never becomes a letter of a code."""
    return text.translate(_UPPER)


def ascii_lower(text: str) -> str:
    return text.translate(_LOWER)


_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def hkid_check(body: str) -> str:
    """Compute the HKID check of prefix and six digits: weights 9 to 2, modulus 11, value 10 written A.

    A one-letter prefix counts as preceded by a space of value 36.
    """
    remainder = -_weighted(body.rjust(8), range(9, 1, -1), _HKID_ALPHABET) % 11
    return "A" if remainder == 10 else str(remainder)


def gb_11643_check(body: str) -> str:
    """Compute the ISO 7064 MOD 11-2 check of the first 17 digits of a citizen identity number (GB 11643-1999)."""
    return "10X98765432"[_weighted(body, GB_11643_WEIGHTS, "0123456789") % 11]


def gb_11714_check(body: str) -> str:
    """Compute the check of the first 8 characters of an organisation code (GB 11714-1997)."""
    remainder = -_weighted(body, GB_11714_WEIGHTS, _HKID_ALPHABET) % 11
    return "X" if remainder == 10 else str(remainder)


def gb_32100_check(body: str) -> str:
    """Compute the check of the first 17 characters of a unified social credit code (GB 32100-2015)."""
    return GB_32100_ALPHABET[-_weighted(body, GB_32100_WEIGHTS, GB_32100_ALPHABET) % 31]


def gs1_check(body: str) -> str:
    """Compute the GS1 mod 10 check: weights 3 and 1 in turn from the right (GS1 General Specifications 7.9)."""
    return str(-sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(reversed(body), 1)) % 10)


def mod_11_10_check(body: str) -> str:
    """Compute the hybrid ISO 7064 MOD 11,10 check of a run of digits."""
    carried = 10
    for digit in body:
        carried = ((carried + int(digit)) % 10 or 10) * 2 % 11
    return str((11 - carried) % 10)


def hibc_check(body: str) -> str:
    """Compute the modulo 43 check of a HIBC data structure without it, `+` included (ANSI/HIBC 2, check character)."""
    return HIBC_ALPHABET[sum(map(HIBC_ALPHABET.index, body)) % 43]


def mod_97_10_check(body: str) -> str:
    """Compute the two ISO 7064 MOD 97-10 check digits, 02 to 98; letters count A=10 to Z=35."""
    number = int("".join(str(int(character, 36)) for character in body) + "00")
    return f"{98 - number % 97:02d}"


def _weighted(body: str, weights: Sequence[int], alphabet: str) -> int:
    return sum(weight * alphabet.index(character) for weight, character in zip(weights, body, strict=True))
