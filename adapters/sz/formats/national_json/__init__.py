"""The national fee lines and settlement list of a self-payer as one JSON object: the first format."""

from adapters.sz.formats.national_json.reader import NationalJson

__all__ = ["NationalJson"]
