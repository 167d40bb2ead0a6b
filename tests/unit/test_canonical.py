"""The guarded JSON reader, and bytes out: any bytes give a value or one of the two errors."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.canonical import (
    BODY_BYTES_MAX,
    DEPTH_MAX,
    b64url,
    canonical,
    compact,
    parse_b64,
    parse_b64url,
    pretty,
    read_any_number,
    read_json,
    read_json_object,
    sha256,
    sha256_hex,
)
from gateway.protocol.errors import MalformedInputError, TooLargeError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=15,
)
NEARLY_JSON = st.lists(
    st.sampled_from(
        [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            '"',
            "\\u",
            "d800",
            "\\",
            "1",
            "-",
            ".5",
            "e9",
            "NaN",
            "true",
            "null",
            " ",
            "é",
            '"a"',
        ]
    ),
    max_size=30,
).map("".join)


@given(st.binary(max_size=200) | NEARLY_JSON.map(str.encode), st.booleans())
def test_any_bytes_give_a_value_or_the_one_error(raw: bytes, decimals: bool) -> None:
    try:
        value = read_json(raw, decimals=decimals)
    except MalformedInputError:
        return

    if not decimals:
        assert read_json(compact(value)) == value


@given(JSON)
def test_what_is_written_is_read_back(value: Any) -> None:
    for write in (canonical, compact):
        assert read_json(write(value)) == value
    assert read_json(pretty(value).encode()) == value


@given(JSON)
def test_one_value_has_one_canonical_form(value: Any) -> None:
    raw = canonical(value)

    assert canonical(read_json(raw)) == raw
    assert canonical(read_json(compact(value))) == raw


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "json.malformed"),
        (b"{", "json.malformed"),
        (b"{} {}", "json.malformed"),
        (b"{'a':1}", "json.malformed"),
        (b'"\t"', "json.malformed"),
        (b"[1,]", "json.malformed"),
        (b"01", "json.malformed"),
        (b"\xef\xbb\xbf{}", "json.malformed"),
        (b"\xff", "json.not-utf8"),
        (b'"\xed\xa0\x80"', "json.not-utf8"),
        ("{}".encode("utf-16"), "json.not-utf8"),
        (b'{"a":1,"a":1}', "json.duplicate-key"),
        (b'{"a":1,"\\u0061":2}', "json.duplicate-key"),
        (b'[{"b":{"a":1,"a":2}}]', "json.duplicate-key"),
        (b"NaN", "json.not-a-number"),
        (b"[-Infinity]", "json.not-a-number"),
        (b"1.0", "json.float-refused"),
        (b"1e2", "json.float-refused"),
        (b"1" * 21, "json.number-too-long"),
        (b"1" * 6000, "json.number-too-long"),
        (b'"\\ud800"', "json.lone-surrogate"),
        (b'{"\\udc00":1}', "json.lone-surrogate"),
        (b'"\\ude00\\ud83d"', "json.lone-surrogate"),
    ],
)
def test_what_lenient_readers_let_pass_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(MalformedInputError) as refused:
        read_json(raw)

    assert refused.value.code == code


def test_a_pair_of_surrogate_escapes_is_one_character() -> None:
    assert read_json(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(("text", "value"), [("1.10", Decimal("1.10")), ("-0.5", Decimal("-0.5")), ("3", 3)])
def test_a_number_with_a_point_is_read_as_it_is_written(text: str, value: object) -> None:
    found = read_json(text.encode(), decimals=True)

    assert found == value
    assert str(found) == text
    assert type(found) is type(value)


@pytest.mark.parametrize("raw", [b"1e2", b"1.5E-3", b"1E400"])
def test_an_exponent_is_refused_even_among_decimals(raw: bytes) -> None:
    with pytest.raises(MalformedInputError, match=r"json\.exponent-refused"):
        read_json(raw, decimals=True)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1.0E+3", "1000"),
        ("1e3", "1000"),
        ("1000e-0", "1000"),
        ("100000e-2", "1000"),
        ("1000.0000000000000000000000", "1000"),
        ("1.25e1", "12.5"),
        ("-5E-2", "-0.05"),
        ("0e5", "0"),
        ("0E-999999999", "0"),
        ("1000.00", "1000.00"),
        ("3", "3"),
    ],
)
def test_a_partner_may_write_a_number_in_any_way_that_json_allows(text: str, plain: str) -> None:
    assert str(read_json(text.encode(), decimals=True, odd_number=read_any_number)) == plain


@pytest.mark.parametrize("text", ["1e999999999", "-1E400", "1e19", "9" * 21, "9" * 100_000, "1." + "1" * 100_000])
def test_a_number_that_no_field_could_hold_is_none_and_costs_nothing(text: str) -> None:
    number = read_json(text.encode(), decimals=True, odd_number=read_any_number)

    assert number.is_nan()


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**15), max_value=10**15))
def test_a_number_in_scientific_notation_is_read_exactly(value: Decimal) -> None:
    assert read_json(f"{value:e}".encode(), decimals=True, odd_number=read_any_number) == value


@pytest.mark.parametrize("inner", [b"", b'"\\ud83d\\ude00"', b'"\\ud800"'])
@pytest.mark.parametrize("depth", [DEPTH_MAX + 2, 900, *range(985, 1000), 5000, 100_000])
def test_nesting_too_deep_is_refused_at_any_depth(depth: int, inner: bytes) -> None:
    for raw in (b"[" * depth + inner + b"]" * depth, b'{"a":' * depth + (inner or b"1") + b"}" * depth):
        with pytest.raises(MalformedInputError, match=r"json\.too-deep"):
            read_json(raw)


def test_nesting_to_the_limit_is_read() -> None:
    deepest: Any = 1
    for _ in range(DEPTH_MAX):
        deepest = [deepest]

    assert read_json(compact(deepest)) == deepest


def test_a_body_is_refused_by_its_size_before_it_is_read() -> None:
    largest = b'"' + b"x" * (BODY_BYTES_MAX - 2) + b'"'

    assert len(read_json(largest)) == BODY_BYTES_MAX - 2
    with pytest.raises(TooLargeError, match=r"json\.too-large"):
        read_json(largest + b" ")
    with pytest.raises(TooLargeError, match=r"json\.too-large"):
        read_json(b"not json", bytes_max=4)


@pytest.mark.parametrize("raw", [b"[]", b'"a"', b"1", b"null", b"true"])
def test_an_object_is_asked_for_and_nothing_else_taken(raw: bytes) -> None:
    with pytest.raises(MalformedInputError, match=r"json\.not-an-object"):
        read_json_object(raw)


def test_compact_bytes_keep_order_and_chinese() -> None:
    assert compact({"b": 1, "a": "深圳"}) == '{"b":1,"a":"深圳"}'.encode()


@given(st.binary(max_size=80))
def test_base64url_reads_back_and_has_one_spelling(data: bytes) -> None:
    text = b64url(data)

    assert parse_b64url(text) == data
    assert not set(text) & set("+/=")


@pytest.mark.parametrize("text", ["YQ==", "YQ=", "YR", "Y+/_", "Y+", "Y", " YQ", "YQ\n", "Y Q", "é", "YQ.", "YWJj===="])
def test_another_spelling_of_base64url_is_malformed(text: str) -> None:
    with pytest.raises(MalformedInputError, match=r"base64\.malformed"):
        parse_b64url(text)


@given(st.text(max_size=30))
def test_any_text_gives_bytes_or_the_one_error(text: str) -> None:
    try:
        data = parse_b64url(text)
    except MalformedInputError:
        data = None
    assert data is None or b64url(data) == text
    try:
        assert isinstance(parse_b64(text), bytes)
    except MalformedInputError:
        return


def test_hashes_are_sha_256() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    assert sha256_hex(b"") == sha256(b"").hex() == empty


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ('{"a": 1,\n "b": 2,\n "c" 3}', "json.malformed", 3, 6),
        ('{"a": 1,\r\n "b": tru}', "json.malformed", 2, 7),
        ("", "json.malformed", 1, 1),
        ("\ufeff{}", "json.malformed", 1, 1),
        ('{"金额": 1}\n}', "json.malformed", 2, 1),
        ('{"a": "x\ny"}', "json.malformed", 1, 9),
        ('{"a": {"b": 1},\n "a": 2}', "json.duplicate-key", 2, 2),
        ('[{"a": 1},\n{"a": 1, "\\u0061": 2}]', "json.duplicate-key", 2, 10),
        ('{"a": "NaN",\n "b": NaN}', "json.not-a-number", 2, 7),
        ('{"a": ["-Infinity", -Infinity]}', "json.not-a-number", 1, 21),
        ('{"1.5": "1.5",\n "b": 1.5}', "json.float-refused", 2, 7),
        ('{"a": 123456789012345678901}', "json.number-too-long", 1, 7),
        ('{"a":\n"\\ud83d\\ude00", "b": "\\ud800"}', "json.lone-surrogate", 2, 22),
        ("[" * 70 + "]" * 70, "json.too-deep", 1, 66),
        ("[1,\n" + '{"a":' * 70 + "1" + "}" * 70 + "]", "json.too-deep", 2, 321),
        ("[" * 200_000, "json.too-deep", 1, 66),
    ],
)
def test_a_fault_of_json_says_in_which_line_and_column_it_stands(text: str, code: str, line: int, column: int) -> None:
    with pytest.raises(MalformedInputError) as refused:
        read_json(text.encode())

    assert (refused.value.code, refused.value.facts) == (code, {"line": line, "column": column})


def test_bytes_that_are_no_utf8_are_placed_by_the_characters_before_them() -> None:
    with pytest.raises(MalformedInputError) as refused:
        read_json('{"a": 1,\n "病历": "'.encode() + b"\xd6\xd0" + b'"}')

    assert (refused.value.code, refused.value.facts) == ("json.not-utf8", {"line": 2, "column": 9})


def test_a_number_with_an_exponent_is_placed_where_decimals_are_read() -> None:
    with pytest.raises(MalformedInputError) as refused:
        read_json(b'{"a": "1e5",\n "b": [1.5, 1E5]}', decimals=True)

    assert (refused.value.code, refused.value.facts) == ("json.exponent-refused", {"line": 2, "column": 13})


@given(st.binary(max_size=200) | NEARLY_JSON.map(str.encode), st.booleans())
def test_every_fault_of_json_but_its_kind_has_a_place_inside_the_text(raw: bytes, decimals: bool) -> None:
    try:
        read_json(raw, decimals=decimals)
    except MalformedInputError as refused:
        lines = raw.split(b"\n")
        line, column = refused.facts["line"], refused.facts["column"]
        assert isinstance(line, int)
        assert isinstance(column, int)
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 1


def test_the_problem_of_a_json_fault_lists_it_with_line_and_column_and_echoes_nothing() -> None:
    with pytest.raises(MalformedInputError) as refused:
        read_json(b'{"canary": canary}')

    shown = refused.value.problem("req_1", "zh-Hans")
    assert shown["errors"] == [
        {
            "code": "json.malformed",
            "pointer": "",
            "detail": shown["title"],
            "fix": shown["fix"],
            "line": 1,
            "column": 12,
        }
    ]
    assert shown["fix"].endswith("第 1 行。第 12 列。")
    assert "canary" not in str(shown)
