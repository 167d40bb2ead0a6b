from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.profile import Profile, ProfileFileError
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.errors import MalformedInputError, TooLargeError
from tests.claims_in_transit import BASE_URL
from tests.parties import INSURER, key_of, world

TOKEN_KEY = key_of(f"{INSURER}/token/ins-harbour-desk")


def a_profile_file(**changes: Any) -> bytes:
    found: dict[str, Any] = {
        "party": INSURER,
        "client_id": "ins-harbour-desk",
        "base_url": BASE_URL,
        "roles": {"hk": "/hk", "insurer": ""},
        "scopes": ["inbox:read"],
        "token_key": read_json_object(TOKEN_KEY.encode()),
        "trust": world().trust.model_dump(mode="json"),
        "synthetic": True,
    }
    return compact({name: value for name, value in (found | changes).items() if value is not ...})


def written(folder: Path, raw: bytes, mode: int = 0o600) -> Path:
    path = folder / "profile.json"
    path.write_bytes(raw)
    path.chmod(mode)
    return path


def test_a_profile_is_read_from_a_file_of_its_owner(tmp_path: Path) -> None:
    profile = Profile.load(written(tmp_path, a_profile_file()))

    assert (profile.party, profile.scopes, profile.synthetic) == (INSURER, ("inbox:read",), True)
    assert profile.token_key.kid == TOKEN_KEY.kid
    assert profile.trust == world().trust


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_profile_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ProfileFileError, match="readable by others"):
        Profile.load(written(tmp_path, a_profile_file(), mode))


def test_a_missing_profile_is_named_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ProfileFileError, match=r"^nobody\.json is missing$"):
        Profile.load(tmp_path / "nobody.json")


def test_a_role_is_found_below_the_base_url_and_its_name_is_its_prefix_by_default() -> None:
    profile = Profile.parse(a_profile_file(base_url=f"{BASE_URL}/"))

    assert profile.url_of("hk") == f"{BASE_URL}/hk"
    assert profile.url_of("insurer") == BASE_URL
    assert profile.url_of("settlement") == f"{BASE_URL}/settlement"


@pytest.mark.parametrize(
    "changes",
    [
        {"token_key": ...},
        {"token_key": {"kty": "OKP", "crv": "Ed25519", "x": TOKEN_KEY.public.x, "kid": "public only"}},
        {"base_url": "ftp://somewhere"},
        {"base_url": "http://host/?query"},
        {"trust": {}},
        {"scopes": "inbox:read"},
        {"colour": "blue"},
        {"synthetic": "yes"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_profile_that_is_not_whole_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedInputError):
        Profile.parse(a_profile_file(**changes))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_profile_or_malformed(raw: bytes) -> None:
    with pytest.raises((MalformedInputError, TooLargeError)):
        Profile.parse(raw)


def test_private_keys_never_show_in_a_repr() -> None:
    secret = read_json_object(TOKEN_KEY.encode())["d"]

    profile = Profile.parse(a_profile_file(sign_key=read_json_object(TOKEN_KEY.encode())))

    assert secret not in repr(profile)
    assert profile.signing().kid == TOKEN_KEY.kid


def test_a_key_that_a_profile_does_not_hold_is_asked_for_in_vain() -> None:
    profile = Profile.parse(a_profile_file())

    with pytest.raises(MalformedInputError, match=r"profile\.key-missing"):
        profile.sealing()
