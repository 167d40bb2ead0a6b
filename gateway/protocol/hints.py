"""The sentence and the fix of every error code, in English, 简体 and 繁體 (Hong Kong usage).

`hints.csv` is the table: code, sentence, fix_en, fix_hans, fix_hant, sentence_hans, sentence_hant. A test demands a
row for every code raised, filled in every column.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Hint:
    """`sentence` and `fix_en` are English; an empty translation falls back to them."""

    sentence: str
    fix_en: str
    fix_hans: str
    fix_hant: str
    sentence_hans: str = ""
    sentence_hant: str = ""

    def sentence_in(self, language: str = "en") -> str:
        """Say what is wrong in the language that `script_of` reads from `language`."""
        return {"hans": self.sentence_hans, "hant": self.sentence_hant}.get(script_of(language), "") or self.sentence

    def fix(self, language: str = "en") -> str:
        """Say what to do in the language that `script_of` reads from `language`."""
        return {"hans": self.fix_hans, "hant": self.fix_hant}.get(script_of(language), "") or self.fix_en


def script_of(language: str) -> str:
    """Read an `Accept-Language` value: zh-Hant, zh-HK, zh-MO and zh-TW are `hant`, other Chinese `hans`, else `en`."""
    tag = language.lower()
    if tag.startswith(("zh-hant", "zh-hk", "zh-mo", "zh-tw")):
        return "hant"
    return "hans" if tag.startswith("zh") else "en"


def _load() -> dict[str, Hint]:
    text = files(__package__).joinpath("hints.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), restval="")
    return {row.pop("code"): Hint(**row) for row in rows}


HINTS = _load()

_UNKNOWN = Hint(
    "Something is wrong that has no description yet.",
    "Tell the operator the request id.",
    "请把请求编号告知运营方。",
    "請把請求編號告知營運方。",
    "发生了尚无说明的错误。",
    "發生了尚無說明的錯誤。",
)


def hint_for(code: str) -> Hint:
    return HINTS.get(code, _UNKNOWN)
