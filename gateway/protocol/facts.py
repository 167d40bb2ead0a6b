"""What makes a fault precise, in English, 简体 and 繁體: bounds, media types, places in a text. Values of ours only.

Bounds are named as in JSON Schema, since a program may compare them with the published description.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_PHRASES: Mapping[str, tuple[str, str, str]] = {
    "line": ("Line {}.", "第 {} 行。", "第 {} 行。"),
    "column": ("Column {}.", "第 {} 列。", "第 {} 欄。"),
    "bytes_max": ("At most {} bytes.", "最多 {} 字节。", "最多 {} 位元組。"),
    "accepted": ("Accepted: {}.", "可接受：{}。", "可接受：{}。"),
    "allowed": ("Known here: {}.", "此处可用：{}。", "此處可用：{}。"),
    "minimum": ("At least {}.", "不小于 {}。", "不小於 {}。"),
    "maximum": ("At most {}.", "不大于 {}。", "不大於 {}。"),
    "exclusiveMinimum": ("More than {}.", "须大于 {}。", "須大於 {}。"),
    "exclusiveMaximum": ("Less than {}.", "须小于 {}。", "須小於 {}。"),
    "minLength": ("At least {} characters.", "至少 {} 个字符。", "至少 {} 個字元。"),
    "maxLength": ("At most {} characters.", "最多 {} 个字符。", "最多 {} 個字元。"),
    "minItems": ("At least {} items.", "至少 {} 项。", "至少 {} 項。"),
    "maxItems": ("At most {} items.", "最多 {} 项。", "最多 {} 項。"),
    "digits": ("At most {} digits.", "最多 {} 位数字。", "最多 {} 位數字。"),
    "decimals": ("At most {} decimals.", "最多 {} 位小数。", "最多 {} 位小數。"),
    "pattern": ("Pattern: {}", "格式：{}", "格式：{}"),
}


def tell(facts: Mapping[str, int | float | str | Sequence[str]], language: str = "en") -> str:
    """Write facts as short sentences to follow a fix; with a blank before each in English, none in Chinese."""
    tag = language.lower()
    place = 0 if not tag.startswith("zh") else 2 if tag.startswith(("zh-hant", "zh-hk", "zh-mo", "zh-tw")) else 1
    blank = "" if place else " "
    return "".join(blank + _PHRASES[name][place].format(_text(value)) for name, value in facts.items())


def _text(value: float | str | Sequence[str]) -> str:
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(value)


_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum", "pattern": "pattern"}
_LENGTHS = {
    ("string_too_short", "min_length"): "minLength",
    ("string_too_long", "max_length"): "maxLength",
    ("too_short", "min_length"): "minItems",
    ("too_long", "max_length"): "maxItems",
}


def bounds_of(error: Mapping[str, Any]) -> dict[str, int | float | str]:
    """Take from a pydantic error what our own model demands: a bound, a pattern, the words of a list; nothing sent."""
    kind, context = str(error["type"]), error.get("ctx", {})
    facts: dict[str, int | float | str] = {}
    for name, value in context.items():
        keyword = _BOUNDS.get(name) or _LENGTHS.get((kind, name))
        if keyword is not None and isinstance(value, (int, float, str)):
            facts[keyword] = value
    if kind in ("literal_error", "enum"):
        facts["allowed"] = str(context["expected"])
    return facts
