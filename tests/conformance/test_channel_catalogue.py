"""What every bank channel must do, whichever it is: each test runs for each line of the catalogue."""

import builtins
import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import fields
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.outgoing import Incoming
from settlement.banks import read_profile
from settlement.channels import CHANNELS
from settlement.ports import BankProfile, Channel, Verdict
from tests.settlement_builders import a_payment, an_instructed_batch, an_obligation

PAYMENT = a_payment()


def profile_of(channel: Channel[Any]) -> BankProfile[Any]:
    """Return the profile of a synthetic bank that speaks this channel."""
    general = {"bank": "SYNTHETIC-BANK", "channel": channel.name, "rail": "rmb-chats", "answer_within_s": 60}
    return read_profile({**general, "options": channel.sample_options()})


def secrets_of(profile: BankProfile[Any]) -> list[str]:
    """Return what the channel's options keep out of their representation."""
    return [str(getattr(profile.options, field.name)) for field in fields(profile.options) if not field.repr]


pytestmark = pytest.mark.parametrize("channel", list(CHANNELS.values()), ids=list(CHANNELS))


def reads(channel: Channel[Any]) -> list[Callable[[Incoming], object]]:
    return [
        lambda answer: channel.read_instruct_answer(PAYMENT, answer),
        lambda answer: channel.read_status_answer(PAYMENT, answer),
        lambda answer: channel.read_notifications(answer, "7"),
    ]


def test_a_channel_does_no_io(channel: Channel[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a channel translates and does no I/O")

    def use_it_all() -> None:
        channel.instruct(PAYMENT, profile_of(channel))
        channel.ask_status(PAYMENT, profile_of(channel))
        channel.ask_notifications(profile_of(channel), "7")
        for read in reads(channel):
            with contextlib.suppress(MalformedInputError):
                read(Incoming(200, {"Next-Cursor": "8"}, b"<Document/>"))

    use_it_all()  # once before, so that what Python loads on first use is loaded

    with monkeypatch.context() as patched:
        for module, name in ((socket, "socket"), (socket, "create_connection"), (builtins, "open"), (os, "open")):
            patched.setattr(module, name, refuse)
        use_it_all()


def test_a_channel_stands_under_its_own_name(channel: Channel[Any]) -> None:
    assert CHANNELS[channel.name] is channel


def test_the_same_question_gives_the_same_bytes(channel: Channel[Any]) -> None:
    assert channel.instruct(PAYMENT, profile_of(channel)) == channel.instruct(PAYMENT, profile_of(channel))
    assert channel.ask_status(PAYMENT, profile_of(channel)) == channel.ask_status(PAYMENT, profile_of(channel))
    assert channel.ask_notifications(profile_of(channel), "7") == channel.ask_notifications(profile_of(channel), "7")


def test_a_resend_has_the_same_message_id_and_bytes(channel: Channel[Any]) -> None:
    sent = an_instructed_batch()

    again = channel.instruct(sent.lose().resend().instruction(), profile_of(channel))

    assert again == channel.instruct(sent.instruction(), profile_of(channel))
    assert sent.message_id.encode() in again.body


def test_another_payment_gives_other_bytes(channel: Channel[Any]) -> None:
    other = an_instructed_batch(an_obligation("claim_9")).instruction()

    assert channel.instruct(other, profile_of(channel)).body != channel.instruct(PAYMENT, profile_of(channel)).body


def test_every_question_goes_to_the_profiles_bank_within_its_deadline(channel: Channel[Any]) -> None:
    questions = [
        channel.instruct(PAYMENT, profile_of(channel)),
        channel.ask_status(PAYMENT, profile_of(channel)),
        channel.ask_notifications(profile_of(channel), ""),
    ]

    urls = channel.urls(profile_of(channel).options)
    assert all(question.url.startswith(urls) for question in questions)
    assert all(url.startswith("http://bank.test/bank/") for url in urls)
    assert all(0 < question.timeout_s <= 60 for question in questions)


def test_options_that_are_not_as_described_are_refused(channel: Channel[Any]) -> None:
    good = channel.sample_options()

    for name in good:
        for wrong in ({key: value for key, value in good.items() if key != name}, {**good, name: None}):
            with pytest.raises(MalformedInputError) as refusal:
                channel.read_options(wrong)
            assert refusal.value.code == "bank-profile.malformed"
    with pytest.raises(MalformedInputError):
        channel.read_options({**good, "surprise": 1})


def test_a_channel_says_who_bears_the_banks_charges(channel: Channel[Any]) -> None:
    assert channel.charge_bearer(profile_of(channel).options) in ("DEBT", "SHAR", "CRED", "SLEV")


def test_the_secret_is_in_no_url_body_or_representation(channel: Channel[Any]) -> None:
    question = channel.instruct(PAYMENT, profile_of(channel))

    for secret in secrets_of(profile_of(channel)):
        assert secret not in question.url
        assert secret.encode() not in question.body
        assert secret not in repr(question)
        assert secret not in repr(profile_of(channel))


def test_asking_moves_nothing(channel: Channel[Any]) -> None:
    for question in (
        channel.ask_status(PAYMENT, profile_of(channel)),
        channel.ask_notifications(profile_of(channel), "7"),
    ):
        assert (question.method, question.body) == ("GET", b"")


def test_a_cursor_cannot_change_the_question(channel: Channel[Any]) -> None:
    question = channel.ask_notifications(profile_of(channel), "7&after=0#x /")

    assert not set("# ") & set(question.url)
    assert question.url.count("&") == channel.ask_notifications(profile_of(channel), "7").url.count("&")


@pytest.mark.parametrize("status", [400, 401, 403, 409, 413, 429, 500, 502, 503, 504])
def test_a_failure_of_the_exchange_is_never_a_refusal(channel: Channel[Any], status: int) -> None:
    answer = Incoming(status, {}, b"anything")

    assert channel.read_instruct_answer(PAYMENT, answer).verdict is Verdict.UNKNOWN
    assert channel.read_status_answer(PAYMENT, answer).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("status", [200, 404])
def test_an_instruction_is_never_answered_by_not_found(channel: Channel[Any], status: int) -> None:
    try:
        found = channel.read_instruct_answer(PAYMENT, Incoming(status, {}, b""))
    except MalformedInputError:
        return
    assert found.verdict is Verdict.UNKNOWN


@given(body=st.binary(max_size=200), status=st.sampled_from([200, 204, 302, 404, 500]), cursor=st.text(max_size=5))
def test_any_answer_gives_a_value_or_the_one_error(
    channel: Channel[Any], body: bytes, status: int, cursor: str
) -> None:
    for read in reads(channel):
        with contextlib.suppress(MalformedInputError):
            read(Incoming(status, {"Next-Cursor": cursor}, body))


@pytest.mark.parametrize("body", [b"", b"<", b"{}", b"<Document/>", b"\xff\xfe\x00", b"null"])
def test_a_malformed_answer_raises_the_one_error_and_is_no_verdict(channel: Channel[Any], body: bytes) -> None:
    for read in reads(channel):
        with pytest.raises(MalformedInputError):
            read(Incoming(200, {"Next-Cursor": "8"}, body))


def test_nothing_new_keeps_the_cursor(channel: Channel[Any]) -> None:
    found = channel.read_notifications(Incoming(204), "7")

    assert (found.entries, found.next_cursor) == ((), "7")
