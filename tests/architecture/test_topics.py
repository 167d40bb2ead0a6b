"""The topic table is what components really read: no message without a handler, no handler without a row."""

import pytest

from gateway.claims.payment import PaymentEvent
from gateway.protocol.message_spec import types_of
from gateway.protocol.messages import MANIFESTS, MESSAGES, types_on
from gateway.protocol.topics import HOSPITAL_REQUESTS, INSURER_RESPONSES, ROLE_OF, SETTLEMENT_OUTCOMES, TOPICS
from gateway.runtime.component import Component
from tests.architecture.components import components, names
from tests.architecture.topic_table import PAGE, table

SIGNED_BYTES = {"registry.releases.v1": "gateway.participants", "audit.records.v1": "audit"}
MESSAGE_TOPICS = sorted(set(TOPICS) - set(SIGNED_BYTES))


def topics_read_by(component: Component) -> set[str]:
    return {one.topic for one in component.subscriptions} | {one.topic for one in component.verbatim}


def test_every_room_with_a_component_has_a_role_and_every_role_s_room_a_component() -> None:
    assert set(names()) == set(ROLE_OF)


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_the_readers_of_a_topic_are_the_components_that_subscribe_to_it(topic: str) -> None:
    subscribed = {name for name, component in components().items() if topic in topics_read_by(component)}

    assert subscribed == set(TOPICS[topic].readers)


@pytest.mark.parametrize("topic", MESSAGE_TOPICS)
def test_every_message_of_a_topic_has_a_handler_and_every_handler_a_row(topic: str) -> None:
    for reader in TOPICS[topic].readers:
        [subscription] = [one for one in components()[reader].subscriptions if one.topic == topic]

        assert set(subscription.handlers) == set(types_on(topic))
        assert len(subscription.handlers) == sum(len(types_of(one.model)) for one in subscription.registrations)


def test_core_checks_every_manifest_that_an_edge_passes_on_and_nobody_checks_it_again() -> None:
    checked = {
        (topic, reader): {one.accept for one in subscription.registrations}
        for topic in MESSAGE_TOPICS
        for reader in TOPICS[topic].readers
        for subscription in components()[reader].subscriptions
        if subscription.topic == topic
    }

    of_parties = {(topic, "gateway.claims") for topic in (HOSPITAL_REQUESTS, INSURER_RESPONSES)}
    assert {where for where, accept in checked.items() if accept == {True}} == of_parties
    assert {where for where, accept in checked.items() if accept == {False}} == set(checked) - of_parties


def test_core_s_payment_machine_knows_every_outcome_that_settlement_may_tell() -> None:
    assert {PaymentEvent(kind) for kind in types_on(SETTLEMENT_OUTCOMES)} <= set(PaymentEvent)


def test_no_component_subscribes_to_a_topic_that_has_no_row() -> None:
    read = {topic for component in components().values() for topic in topics_read_by(component)}

    assert read == set(TOPICS)


@pytest.mark.parametrize(("topic", "reader"), SIGNED_BYTES.items())
def test_topics_of_signed_bytes_are_read_whole(topic: str, reader: str) -> None:
    assert TOPICS[topic].readers == (reader,)
    assert topic in {one.topic for one in components()[reader].verbatim}


def test_every_message_type_has_a_topic_and_every_topic_known_messages() -> None:
    on_topics = {message for topic in MESSAGE_TOPICS for message in types_on(topic)}

    assert on_topics == set(MANIFESTS) | set(MESSAGES)
    assert not set(MANIFESTS) & set(MESSAGES)


@pytest.mark.parametrize("topic", MESSAGE_TOPICS)
def test_a_topic_leaves_its_role_exactly_when_another_role_reads_it(topic: str) -> None:
    row = TOPICS[topic]

    assert row.crosses is ({ROLE_OF[reader] for reader in row.readers} != {ROLE_OF[row.writer]})


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_a_topic_s_name_ends_with_its_major(topic: str) -> None:
    assert topic.rpartition(".v")[2].isdecimal()


def test_the_page_of_topics_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == table(), "run: python -m tests.architecture.topic_table"
