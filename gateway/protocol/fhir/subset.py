"""What a tolerant reader leaves out of a partner's R4 JSON before anything is validated.

R4 lets every author add extensions and fill elements that a reader does not know, with any type of value (sections
1.5.0.5 and 2.4.0). Left out are elements outside the subset, contained resources, entries of other resources, and
extensions of others whose value the subset has no type for. Never left out is what may turn the meaning of the rest:
`modifierExtension`, `implicitRules` and every element that R4 marks `isModifier` are fields of the models, which take
only values that the gateway understands; so are extensions under `urn:szhk:`, which are ours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_args

from pydantic import ValidationError

from gateway.protocol.errors import Fault
from gateway.protocol.fhir.elements import Element, Extension

OURS = "urn:szhk:"
MODIFIER = "modifierExtension"

Place = tuple[str | int, ...]


@dataclass(slots=True)
class Subset:
    """The members that are kept. `places` gives, for each list that lost members, the former index of each kept one."""

    members: dict[str, Any] = field(default_factory=dict)
    places: dict[Place, list[int]] = field(default_factory=dict)

    def original(self, place: Place) -> Place:
        """Return where an element that is kept stood in what was sent."""
        steps: list[str | int] = []
        for depth, step in enumerate(place):
            kept = self.places.get(place[:depth])
            steps.append(kept[step] if kept is not None and isinstance(step, int) and step < len(kept) else step)
        return tuple(steps)


def keep_subset(kind: type[Element], value: Mapping[str, Any]) -> Subset:
    """Leave out of `value`, an object that is read as `kind`, what a tolerant reader leaves out."""
    subset = Subset()
    subset.members = _keep(kind, value, (), subset.places)
    return subset


def modified_primitives(kind: type[Element], value: Mapping[str, Any], pointer: str = "") -> Iterator[Fault]:
    """Name each primitive of the subset whose own extensions (`_status`) hold a `modifierExtension`."""
    fields = _fields(kind)
    for name, member in value.items():
        if name.startswith("_") and name[1:] in fields:
            if _holds_modifier(member):
                yield Fault("fhir.element-not-carried", f"{pointer}/{name}")
        elif name in fields:
            listed = member if isinstance(member, list) else [member]
            for index, one in enumerate(listed):
                model = _model_for(fields[name], one)
                if model is not None:
                    place = f"{pointer}/{name}/{index}" if isinstance(member, list) else f"{pointer}/{name}"
                    yield from modified_primitives(model, one, place)


def _keep(
    kind: type[Element], value: Mapping[str, Any], place: Place, places: dict[Place, list[int]]
) -> dict[str, Any]:
    fields = _fields(kind)
    return {
        name: _keep_member(fields[name], member, (*place, name), places)
        for name, member in value.items()
        if name in fields and name not in kind.never_read
    }


def _keep_member(models: tuple[type[Element], ...], member: Any, place: Place, places: dict[Place, list[int]]) -> Any:
    if not isinstance(member, list):
        return _keep_one(models, member, place, places)
    kept: list[int] = []
    values: list[Any] = []
    for index, one in enumerate(member):
        if _is_left_out(models, one):
            continue
        values.append(_keep_one(models, one, (*place, len(values)), places))
        kept.append(index)
    if len(kept) < len(member):
        places[place] = kept
    return values


def _keep_one(models: tuple[type[Element], ...], value: Any, place: Place, places: dict[Place, list[int]]) -> Any:
    model = _model_for(models, value)
    if model is None or (model is Extension and not _is_ours(value)):
        return value
    return _keep(model, value, place, places)


def _is_left_out(models: tuple[type[Element], ...], member: Any) -> bool:
    if not models:
        # a repeating primitive without a value, whose extensions stand beside it (R4 section 2.6.2.3)
        return member is None
    if not isinstance(member, dict):
        return False
    if models == (Extension,):
        return not _is_ours(member) and not _is_readable(member)
    if "resource" in _fields(models[0]):
        resource = member.get("resource")
        return resource is None or (
            isinstance(resource, dict)
            and isinstance(resource.get("resourceType"), str)
            and _model_for(_fields(models[0])["resource"], resource) is None
        )
    return False


def _is_ours(extension: Mapping[str, Any]) -> bool:
    url = extension.get("url")
    return isinstance(url, str) and url.startswith(OURS)


def _is_readable(extension: Mapping[str, Any]) -> bool:
    """Tell whether the subset can hold an extension of somebody else as it is, or must name what it may turn.

    It is taken or left out as a whole, so that each is looked at once, however deep they lie in one another.
    """
    if _holds_modifier(extension):
        return True
    try:
        Extension.model_validate(extension, extra="ignore", by_alias=True, by_name=False)
    except ValidationError:
        return False
    return True


def _holds_modifier(value: Any) -> bool:
    if isinstance(value, dict):
        return MODIFIER in value or any(_holds_modifier(member) for member in value.values())
    return isinstance(value, list) and any(_holds_modifier(member) for member in value)


def _model_for(models: tuple[type[Element], ...], value: Any) -> type[Element] | None:
    """Return the model that reads this value: of several, that of its `resourceType`."""
    if not models or not isinstance(value, dict):
        return None
    if len(models) == 1:
        return models[0]
    named = value.get("resourceType")
    return next((model for model in models if model.model_fields["resource_type"].default == named), None)


@cache
def _fields(kind: type[Element]) -> dict[str, tuple[type[Element], ...]]:
    """Return the names of a model on the wire, each with the models that its values may have."""
    # a model that was defined before Extension knows its extensions by name only until it is rebuilt
    kind.model_rebuild()
    return {item.alias or name: tuple(_models(item.annotation)) for name, item in kind.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[Element]]:
    if isinstance(annotation, type) and issubclass(annotation, Element):
        yield annotation
    else:
        yield from (model for part in get_args(annotation) for model in _models(part))
