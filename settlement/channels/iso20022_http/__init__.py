"""ISO 20022 over HTTP: the first channel."""

from settlement.channels.iso20022_http.options import Options
from settlement.channels.iso20022_http.translator import Iso20022Http

__all__ = ["Iso20022Http", "Options"]
