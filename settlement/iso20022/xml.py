"""Reading a bank's XML safely, and the few lexical types that our messages use.

Nothing outside the bytes is ever read: no DOCTYPE, no entities, no network, a size cap; comments and processing
instructions are dropped, so that they cannot split a code in two. Every function raises `MalformedInputError`
(`iso20022.<what>`) and nothing else. Namespaces pin the version: another version is another message.

Texts that are only passed on are never a reason to refuse a message: `text` makes visible what cannot be printed and
cuts what is longer than any field of the schema.
"""

import re
from collections.abc import Iterator
from datetime import date

from lxml import etree

from gateway.protocol.canonical import sha256_hex
from gateway.protocol.errors import MalformedInputError
from gateway.protocol.money import MINOR_DIGITS, Money

XML_BYTES_MAX = 8 * 1024 * 1024
TEXT_LENGTH_MAX = 350
"""Characters kept of one text. Max35Text stays whole even if each of its characters has to be escaped to ten;
unstructured remittance is Max140Text."""

_NO_REFERENCE = frozenset({"NOTPROVIDED", "NONREF"})

Element = etree._Element  # noqa: SLF001 lxml names its public element class this way

_AMOUNT_LENGTH_MAX = 40
_AMOUNT = re.compile(r"\+?0*([0-9]{0,15})(?:\.([0-9]{0,2})0*)?")
"""xs:decimal: leading and trailing zeros are spelling and no part of the value."""
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T.*|Z|[+-][0-9]{2}:[0-9]{2})?", re.DOTALL)


def parse(raw: bytes, namespace: str, root: str = "Document") -> Element:
    """Read one document whose root is `{namespace}root`."""
    if len(raw) > XML_BYTES_MAX:
        raise MalformedInputError("iso20022.too-large")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        found = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise MalformedInputError("iso20022.not-xml") from None
    if found is None or found.getroottree().docinfo.internalDTD is not None:
        raise MalformedInputError("iso20022.doctype")
    if found.tag != f"{{{namespace}}}{root}":
        raise MalformedInputError("iso20022.other-message")
    return found


def children(node: Element, path: str) -> Iterator[Element]:
    """Yield the elements at a `/`-separated path of local names in the node's own namespace."""
    namespace = etree.QName(node).namespace
    yield from node.iterfind("/".join(f"{{{namespace}}}{name}" for name in path.split("/")))


def child(node: Element, path: str) -> Element | None:
    return next(children(node, path), None)


def required(node: Element, path: str) -> Element:
    found = child(node, path)
    if found is None:
        raise MalformedInputError("iso20022.element-missing")
    return found


def text(node: Element, path: str) -> str | None:
    """Return the visible text at `path`, at most `TEXT_LENGTH_MAX` characters; None where it is absent or blank."""
    found = child(node, path)
    written = ((found.text if found is not None else None) or "").strip()
    return visible(written) or None


def is_no_reference(written: str | None) -> bool:
    """Say whether this is what banks write into a mandatory reference that they do not have; it identifies nothing."""
    return written is None or "".join(sign for sign in written.upper() if sign.isalnum()) in _NO_REFERENCE


def visible(written: str) -> str:
    """Escape what cannot be printed by its code point, and cut what is too long; a cut text ends in its own digest.

    The digest keeps two long texts apart that begin alike, since texts are part of an entry's identity.
    """
    shown = "".join(sign if sign.isprintable() else _escaped(sign) for sign in written)
    if len(shown) <= TEXT_LENGTH_MAX:
        return shown
    return f"{shown[: TEXT_LENGTH_MAX - 17]}~{sha256_hex(written.encode())[:16]}"


def _escaped(sign: str) -> str:
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"


def required_text(node: Element, path: str) -> str:
    found = text(node, path)
    if found is None:
        raise MalformedInputError("iso20022.element-missing")
    return found


def read_amount(node: Element) -> Money:
    """Read an amount element with its `Ccy`. The value decides, not its spelling: `.50`, `300.000` are amounts.

    Parts of a minor unit (`iso20022.amount`) and currencies that we keep no books in (`iso20022.currency`) are refused.
    """
    currency, written = node.get("Ccy", ""), (node.text or "").strip()
    match = _AMOUNT.fullmatch(written) if len(written) <= _AMOUNT_LENGTH_MAX else None
    if match is None or not any(sign.isdigit() for sign in written):
        raise MalformedInputError("iso20022.amount")
    if currency not in MINOR_DIGITS:
        raise MalformedInputError("iso20022.currency")
    whole, fraction = match.groups()
    try:
        return Money(int(whole or "0") * 100 + int((fraction or "").ljust(2, "0")), currency)
    except MalformedInputError:
        raise MalformedInputError("iso20022.amount") from None


def read_date(node: Element, path: str) -> date | None:
    """Read a `Dt` / `DtTm` choice at `path` as the date that the bank wrote, None where it is absent."""
    written = text(node, f"{path}/Dt") or text(node, f"{path}/DtTm")
    if written is None:
        return None
    match = _DATE.fullmatch(written)
    try:
        return date.fromisoformat(match.group(1)) if match is not None else _refuse_date()
    except ValueError:
        return _refuse_date()


def _refuse_date() -> date:
    raise MalformedInputError("iso20022.date")


def read_flag(node: Element, path: str) -> bool:
    """Read an xs:boolean; absent is false."""
    written = text(node, path)
    if written not in {None, "true", "false", "1", "0"}:
        raise MalformedInputError("iso20022.flag")
    return written in {"true", "1"}


def add(parent: Element, name: str, value: str | None = None, **attributes: str) -> Element:
    """Append a child in the parent's namespace; returns it."""
    found = etree.SubElement(parent, f"{{{etree.QName(parent).namespace}}}{name}", attrib=attributes)
    found.text = value
    return found


def document(namespace: str, body: str) -> tuple[Element, Element]:
    """Start a `Document` with one child `body`; returns both."""
    root = etree.Element(f"{{{namespace}}}Document", nsmap={None: namespace})  # type: ignore[dict-item]  # the stubs forget None
    return root, add(root, body)


def to_bytes(root: Element) -> bytes:
    """Serialise once, UTF-8 with declaration, no added blanks: equal trees give equal bytes."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")
