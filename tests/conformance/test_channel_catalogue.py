"""What every bank channel must do, whichever it is: each test runs for each line of the catalogue."""

import builtins
import contextlib
import os
import socket
from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.outgoing import Incoming
from settlement.channels import CHANNELS
from settlement.ports import Channel, Verdict
from tests.settlement_builders import a_payment, a_profile, an_instructed_batch, an_obligation

PAYMENT = a_payment()
PROFILE = a_profile()

pytestmark = pytest.mark.parametrize("channel", list(CHANNELS.values()), ids=list(CHANNELS))


def reads(channel: Channel) -> list[Callable[[Incoming], object]]:
    return [
        lambda answer: channel.read_instruct_answer(PAYMENT, answer),
        lambda answer: channel.read_status_answer(PAYMENT, answer),
        lambda answer: channel.read_notifications(answer, "7"),
    ]


def test_a_channel_does_no_io(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a channel translates and does no I/O")

    def use_it_all() -> None:
        channel.instruct(PAYMENT, PROFILE)
        channel.ask_status(PAYMENT, PROFILE)
        channel.ask_notifications(PROFILE, "7")
        for read in reads(channel):
            with contextlib.suppress(MalformedInputError):
                read(Incoming(200, {"Next-Cursor": "8"}, b"<Document/>"))

    use_it_all()  # once before, so that what Python loads on first use is loaded

    with monkeypatch.context() as patched:
        for module, name in ((socket, "socket"), (socket, "create_connection"), (builtins, "open"), (os, "open")):
            patched.setattr(module, name, refuse)
        use_it_all()


def test_a_channel_stands_under_its_own_name(channel: Channel) -> None:
    assert CHANNELS[channel.name] is channel


def test_the_same_question_gives_the_same_bytes(channel: Channel) -> None:
    assert channel.instruct(PAYMENT, PROFILE) == channel.instruct(PAYMENT, PROFILE)
    assert channel.ask_status(PAYMENT, PROFILE) == channel.ask_status(PAYMENT, PROFILE)
    assert channel.ask_notifications(PROFILE, "7") == channel.ask_notifications(PROFILE, "7")


def test_a_resend_has_the_same_message_id_and_bytes(channel: Channel) -> None:
    sent = an_instructed_batch()

    again = channel.instruct(sent.lose().resend().instruction(), PROFILE)

    assert again == channel.instruct(sent.instruction(), PROFILE)
    assert sent.message_id.encode() in again.body


def test_another_payment_gives_other_bytes(channel: Channel) -> None:
    other = an_instructed_batch(an_obligation("claim_9")).instruction()

    assert channel.instruct(other, PROFILE).body != channel.instruct(PAYMENT, PROFILE).body


def test_every_question_goes_to_the_profiles_bank_within_its_deadline(channel: Channel) -> None:
    questions = [
        channel.instruct(PAYMENT, PROFILE),
        channel.ask_status(PAYMENT, PROFILE),
        channel.ask_notifications(PROFILE, ""),
    ]

    assert all(question.url.startswith("http://bank.test/bank/") for question in questions)
    assert all(question.timeout_s == PROFILE.timeout_s for question in questions)


def test_the_secret_is_in_no_url_body_or_representation(channel: Channel) -> None:
    question = channel.instruct(PAYMENT, PROFILE)

    assert PROFILE.token not in question.url
    assert PROFILE.token.encode() not in question.body
    assert PROFILE.token not in repr(question)


def test_asking_moves_nothing(channel: Channel) -> None:
    for question in (channel.ask_status(PAYMENT, PROFILE), channel.ask_notifications(PROFILE, "7")):
        assert (question.method, question.body) == ("GET", b"")


def test_a_cursor_cannot_change_the_question(channel: Channel) -> None:
    question = channel.ask_notifications(PROFILE, "7&after=0#x /")

    assert not set("# ") & set(question.url)
    assert question.url.count("&") == channel.ask_notifications(PROFILE, "7").url.count("&")


@pytest.mark.parametrize("status", [400, 401, 403, 409, 413, 429, 500, 502, 503, 504])
def test_a_failure_of_the_exchange_is_never_a_refusal(channel: Channel, status: int) -> None:
    answer = Incoming(status, {}, b"anything")

    assert channel.read_instruct_answer(PAYMENT, answer).verdict is Verdict.UNKNOWN
    assert channel.read_status_answer(PAYMENT, answer).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("status", [200, 404])
def test_an_instruction_is_never_answered_by_not_found(channel: Channel, status: int) -> None:
    try:
        found = channel.read_instruct_answer(PAYMENT, Incoming(status, {}, b""))
    except MalformedInputError:
        return
    assert found.verdict is Verdict.UNKNOWN


@given(body=st.binary(max_size=200), status=st.sampled_from([200, 204, 302, 404, 500]), cursor=st.text(max_size=5))
def test_any_answer_gives_a_value_or_the_one_error(channel: Channel, body: bytes, status: int, cursor: str) -> None:
    for read in reads(channel):
        with contextlib.suppress(MalformedInputError):
            read(Incoming(status, {"Next-Cursor": cursor}, body))


@pytest.mark.parametrize("body", [b"", b"<", b"{}", b"<Document/>", b"\xff\xfe\x00", b"null"])
def test_a_malformed_answer_raises_the_one_error_and_is_no_verdict(channel: Channel, body: bytes) -> None:
    for read in reads(channel):
        with pytest.raises(MalformedInputError):
            read(Incoming(200, {"Next-Cursor": "8"}, body))


def test_nothing_new_keeps_the_cursor(channel: Channel) -> None:
    found = channel.read_notifications(Incoming(204), "7")

    assert (found.entries, found.next_cursor) == ((), "7")
