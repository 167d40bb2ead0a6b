"""Every generated page: `make pages`, or `python -m tests.architecture.reference_pages`, writes them anew."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.architecture import (
    error_table,
    glossary_table,
    requirement_table,
    settings_table,
    state_diagrams,
    topic_table,
)

PAGES: Mapping[Path, Callable[[], str]] = {
    error_table.PAGE: error_table.page,
    glossary_table.PAGE: glossary_table.page,
    requirement_table.PAGE: requirement_table.page,
    settings_table.PAGE: settings_table.page,
    state_diagrams.PAGE: state_diagrams.page,
    topic_table.PAGE: topic_table.table,
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")
