"""A message is one file: model and spec stand together, nothing is listed elsewhere, and every message is tested."""

import ast
from pathlib import Path

import pytest

from gateway.protocol import messages
from gateway.protocol.claim_life import ALLOWED, UNASKED, Actor
from gateway.protocol.exchange import Manifest
from gateway.protocol.message_spec import PARTIES, Author, Content
from gateway.protocol.messages import MANIFESTS, MESSAGES, ROLE_MESSAGE_IDS, SPEC_OF_TYPE, SPECS, types_on
from gateway.protocol.topics import INSURER_DELIVERIES, ROLE_OF, TOPICS
from tests.message_samples import SAMPLES

ROOT = Path(__file__).parents[2]
FOLDER = Path(messages.__file__).parent
NAMES = sorted(SPECS)
AUTHOR_OF_WRITER = {
    "adapters.sz": {Author.HOSPITAL},
    "adapters.hk.edge": {Author.INSURER},
    "gateway.claims": {Author.CORE, *PARTIES},
    "settlement": {Author.SETTLEMENT},
}
"""Who can have written what a component puts on its topic: an edge passes on its party's, core everybody's."""


def wire_models() -> dict[str, Path]:
    """Find every class in `gateway/protocol` that has a field `type` of its own with a fixed value."""
    models = {}
    for path in (ROOT / "gateway" / "protocol").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and _crosses(node) and any(_fixes_type(field) for field in node.body):
                models[node.name] = path
    return models


def _crosses(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id in ("Message", "Manifest") for base in node.bases)


def _fixes_type(field: ast.stmt) -> bool:
    return isinstance(field, ast.AnnAssign) and ast.unparse(field).startswith(("type: Literal[", "type: OutcomeType"))


def test_there_are_messages_to_check() -> None:
    assert {"submitted", "decided", "claim_state", "outcome"} <= set(NAMES)
    assert len(wire_models()) == len(NAMES)


def test_every_module_of_the_package_is_a_message() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(NAMES)


def test_every_model_with_a_type_of_the_wire_has_a_spec_beside_it() -> None:
    beside = {spec.model.__name__: FOLDER / f"{name}.py" for name, spec in SPECS.items()}

    assert wire_models() == beside


def test_no_two_messages_share_a_type() -> None:
    types = [name for spec in SPECS.values() for name in spec.types]

    assert len(types) == len(set(types)) == len(SPEC_OF_TYPE)
    assert set(MANIFESTS) | set(MESSAGES) == set(types)


@pytest.mark.parametrize("name", NAMES)
def test_a_message_is_called_as_its_type_unless_several_types_share_its_model(name: str) -> None:
    assert SPECS[name].types == (name,) or len(SPECS[name].types) > 1


@pytest.mark.parametrize("name", NAMES)
def test_parties_sign_manifests_and_roles_write_in_their_stamp(name: str) -> None:
    spec = SPECS[name]

    assert spec.authors
    assert issubclass(spec.model, Manifest) is spec.is_manifest is (spec.authors <= PARTIES)
    assert spec.is_manifest or spec.content is Content.NONE


@pytest.mark.parametrize("name", NAMES)
def test_a_message_travels_on_topics_whose_writer_can_have_it_from_its_author(name: str) -> None:
    spec = SPECS[name]

    assert spec.topics
    assert len(set(spec.topics)) == len(spec.topics)
    for topic in spec.topics:
        assert TOPICS[topic].writer in ROLE_OF
        assert spec.authors & AUTHOR_OF_WRITER[TOPICS[topic].writer]


@pytest.mark.parametrize("name", NAMES)
def test_the_moves_that_a_message_asks_for_are_its_authors_in_the_life_of_a_claim(name: str) -> None:
    spec = SPECS[name]
    asked_for = [rules[event].by for rules in ALLOWED.values() for event in spec.claim_events if event in rules]
    movers = {actor for by in asked_for for actor in by}

    assert {str(actor) for actor in movers} <= {str(author) for author in spec.authors}
    assert spec.is_manifest or not spec.claim_events


def test_every_move_of_a_party_has_exactly_one_message_that_asks_for_it() -> None:
    of_parties = {event for rules in ALLOWED.values() for event, rule in rules.items() if rule.by - {Actor.OPERATOR}}
    asked_for = [event for spec in SPECS.values() for event in spec.claim_events]

    assert sorted(asked_for) == sorted(of_parties)
    assert {event for _, event in UNASKED} <= of_parties


def test_a_message_asks_for_a_move_that_its_author_is_offered() -> None:
    assert SPECS["decided"].moved_by(("decide_partly",))
    assert not SPECS["decided"].moved_by(("return", "dispute"))
    assert not SPECS["submitted"].moved_by(("return", "dispute"))


def test_no_party_may_use_the_id_of_a_message_that_core_writes_to_it() -> None:
    of_core = {name for name in types_on(INSURER_DELIVERIES) if name not in MANIFESTS}

    assert {f"{name}-" for name in of_core} == set(ROLE_MESSAGE_IDS) == {"accepted-", "rejected-", "claim_state-"}


def test_every_type_of_message_has_a_sample_that_the_tests_of_messages_read() -> None:
    assert set(SAMPLES) == set(SPEC_OF_TYPE), "add one to tests/message_samples.py"
