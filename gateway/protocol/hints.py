"""The sentence and the fix of every error code, in English, 简体 and 繁體 (Hong Kong usage).

`hints.csv` is the table: code, sentence, fix_en, fix_hans, fix_hant. A test demands a row for every code raised.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Hint:
    sentence: str
    fix_en: str
    fix_hans: str
    fix_hant: str

    def fix(self, language: str = "en") -> str:
        """Pick by an `Accept-Language` value: zh-Hant, zh-HK and zh-MO read 繁體, other Chinese 简体."""
        tag = language.lower()
        if tag.startswith(("zh-hant", "zh-hk", "zh-mo", "zh-tw")):
            return self.fix_hant
        return self.fix_hans if tag.startswith("zh") else self.fix_en


def _load() -> dict[str, Hint]:
    text = files(__package__).joinpath("hints.csv").read_text(encoding="utf-8")
    return {
        row["code"]: Hint(row["sentence"], row["fix_en"], row["fix_hans"], row["fix_hant"])
        for row in csv.DictReader(text.splitlines())
    }


HINTS = _load()

_UNKNOWN = Hint(
    "Something is wrong that has no description yet.",
    "Tell the operator the request id.",
    "请把请求编号告知运营方。",
    "請把請求編號告知營運方。",
)


def hint_for(code: str) -> Hint:
    return HINTS.get(code, _UNKNOWN)
