"""Claims of an assertion (RFC 7523 section 3), each wrong in one way, and what a client with its own key is told."""

from typing import Any

from gateway.protocol.clock import VirtualClock

NOW = VirtualClock().now().timestamp()
URL = "http://gateway/hk"
CLIENT = "ins-harbour-desk"

WRONG_CLAIMS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"aud": "http://gateway/sz/oauth/token"}, [("other-audience", "/aud")]),
    ({"aud": ["http://gateway/sz", "x"]}, [("other-audience", "/aud")]),
    ({"aud": None}, [("claim-missing", "/aud")]),
    ({"aud": []}, [("claim-malformed", "/aud")]),
    ({"aud": [URL, 7]}, [("claim-malformed", "/aud")]),
    ({"aud": {"url": URL}}, [("claim-malformed", "/aud")]),
    ({"aud": [[URL]]}, [("claim-malformed", "/aud")]),
    ({"iss": "ins-lantau-system"}, [("other-client", "/iss")]),
    ({"iss": 7}, [("other-client", "/iss")]),
    ({"sub": "ins-lantau-system"}, [("other-client", "/sub")]),
    ({"sub": "nobody"}, [("other-client", "/sub")]),
    ({"sub": None}, [("claim-missing", "/sub")]),
    ({"sub": [CLIENT]}, [("other-client", "/sub")]),
    ({"exp": None}, [("claim-missing", "/exp")]),
    ({"exp": "soon"}, [("time-malformed", "/exp")]),
    ({"exp": str(int(NOW) + 60)}, [("time-malformed", "/exp")]),
    ({"exp": True}, [("time-malformed", "/exp")]),
    ({"exp": -1}, [("time-malformed", "/exp")]),
    ({"exp": 10**19}, [("time-malformed", "/exp")]),
    ({"exp": 10**30}, [("time-malformed", "/exp")]),
    ({"exp": {}}, [("time-malformed", "/exp")]),
    ({"exp": 1}, [("expired", "/exp")]),
    ({"exp": NOW - 60.5}, [("expired", "/exp")]),
    ({"exp": 10**10}, [("lives-too-long", "/exp")]),
    ({"nbf": NOW + 120}, [("not-yet-valid", "/nbf")]),
    ({"nbf": NOW + 60.5}, [("not-yet-valid", "/nbf")]),
    ({"nbf": "now"}, [("time-malformed", "/nbf")]),
    ({"nbf": False}, [("time-malformed", "/nbf")]),
    ({"iat": NOW + 61}, [("not-yet-valid", "/iat")]),
    ({"iat": [NOW]}, [("time-malformed", "/iat")]),
    ({"jti": None}, [("claim-missing", "/jti")]),
    ({"jti": ""}, [("claim-malformed", "/jti")]),
    ({"jti": "x" * 201}, [("claim-malformed", "/jti")]),
    ({"jti": 7}, [("claim-malformed", "/jti")]),
    ({"jti": "a\x00b"}, [("claim-malformed", "/jti")]),
    ({"jti": "a b"}, [("claim-malformed", "/jti")]),
    ({"jti": "病历"}, [("claim-malformed", "/jti")]),
    ({"jti": "x\n"}, [("claim-malformed", "/jti")]),
    (
        {"jti": "\x7f", "exp": 1, "aud": "x", "iss": "y"},
        [
            ("other-client", "/iss"),
            ("other-audience", "/aud"),
            ("expired", "/exp"),
            ("claim-malformed", "/jti"),
        ],
    ),
]
