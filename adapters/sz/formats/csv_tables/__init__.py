"""A bill as a ZIP of CSV tables, as a hospital's own database exports it: the second format."""

from adapters.sz.formats.csv_tables.reader import CsvTables

__all__ = ["CsvTables"]
