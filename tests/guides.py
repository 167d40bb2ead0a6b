"""The guides as a reader meets them: their fenced blocks in order, and their links.

A block of `sh`, `python` or `json` is run or checked, unless the line before it says `<!-- not run: reason -->`. A
Python block whose first line is `# name.py: …` is a file that the reader saves. Blocks without a language are figures.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECKED = ("sh", "python", "json")
SHOWN = ("", "text", "http", "mermaid")
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
NAMED = re.compile(r"# ([a-z_]+\.py): ")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """`follows_block` is set where nothing but its own fence stands between it and the block before."""

    page: str
    line: int
    language: str
    text: str
    why_not_run: str | None
    follows_block: bool

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file_name(self) -> str | None:
        match = NAMED.match(self.text) if self.language == "python" else None
        return match[1] if match else None


def pages() -> list[Path]:
    """Return every guide, README.md first, since the others build on what it starts."""
    readmes = [ROOT / "README.md", ROOT / "README.zh-Hans.md", ROOT / "README.zh-Hant.md"]
    others = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    return [*readmes, *sorted((ROOT / "docs").rglob("*.md")), *others]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    last_end = -2
    while number < len(lines):
        if not lines[number].startswith("```"):
            number += 1
            continue
        end = lines.index("```", number + 1)
        marker = NOT_RUN.fullmatch(lines[number - 1]) if number else None
        found.append(
            Block(
                name_of(page),
                number + 1,
                lines[number].removeprefix("```"),
                "\n".join(lines[number + 1 : end]) + "\n",
                marker[1] if marker else None,
                number == last_end + 1,
            )
        )
        number = last_end = end
        number += 1
    return found


def links(page: Path) -> list[str]:
    """Return where a page's links lead, those within blocks and inline code left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return LINK.findall(re.sub(r"`[^`\n]*`", "", text))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
