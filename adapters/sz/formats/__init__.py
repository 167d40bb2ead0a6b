"""The catalogue of hospital formats: a new format is one folder beside the others and one line here."""

from collections.abc import Mapping
from types import MappingProxyType

from adapters.sz.formats.csv_tables import CsvTables
from adapters.sz.formats.national_json import NationalJson
from adapters.sz.ports import HospitalFormat

FORMATS: Mapping[str, HospitalFormat] = MappingProxyType({form.name: form for form in (NationalJson(), CsvTables())})
