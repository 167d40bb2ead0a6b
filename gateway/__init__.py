"""The gateway: protocol, runtime, claims, and the command `gateway`."""

VERSION = "0.1.0"
"""As in pyproject.toml; a test compares them."""
