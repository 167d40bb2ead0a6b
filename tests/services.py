"""What a test does when this machine lacks a service: skip aloud, or fail where CI demands it."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test for want of `what`; with REQUIRE_SERVICES=1 fail it."""
    if os.environ.get("REQUIRE_SERVICES") == "1":  # noqa: TID251 a switch of the test run
        pytest.fail(f"{what} is missing on this machine and REQUIRE_SERVICES=1")
    pytest.skip(f"{what} is missing on this machine")
