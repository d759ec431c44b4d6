"""Finds where a pydantic error points to: the place in the file, and the setting that is declared there.

pydantic's location also names union members and discriminator values; those are no keys of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipelines.settings.yaml_source import Place

_UNION_ORIGINS = {Union, type(int | str)}
_DISCRIMINATORS = ("format", "kind", "family", "strategy")


@dataclass(frozen=True)
class Spot:
    """A place in the file, what is declared for it, and the settings class that holds its last key (if any)."""

    place: Place
    declared: Any
    owner: type[BaseModel] | None
    in_union: bool = False

    @property
    def field(self) -> FieldInfo | None:
        """The declaration of the last key, when it is a key of a settings class."""
        return declared_fields(self.owner).get(str(self.place[-1])) if self.owner and self.place else None


def declared_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields by the key that the file uses for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def locate(model: type[BaseModel], location: tuple[str | int, ...], data: Any) -> Spot:
    """Follows pydantic's `location` through the declarations and the data, leaving out what is not in the file."""
    declared: Any = model
    owner: type[BaseModel] | None = None
    place: Place = ()
    in_union = False
    rest = list(location)
    while rest:
        declared, is_tagged = _unwrap(declared, data)
        if get_origin(declared) in _UNION_ORIGINS:
            in_union = True
            member = rest.pop(0)
            declared = _member(declared, str(member))
            continue
        if is_tagged:
            rest.pop(0)
            if not rest:
                break
        step = rest.pop(0)
        if step == "[key]":
            continue
        place = (*place, step)
        owner = declared if _is_model(declared) else None
        declared = _inside(declared, step)
        data = _item(data, step)
    return Spot(place, _unwrap(declared, data)[0], owner, in_union)


def _unwrap(declared: Any, data: Any) -> tuple[Any, bool]:
    """The declaration without Annotated and None, with a discriminated union resolved by the data.

    The flag tells that pydantic's location holds the discriminator's value here.
    """
    while get_origin(declared) is Annotated:
        declared = get_args(declared)[0]
    if get_origin(declared) not in _UNION_ORIGINS:
        return declared, False
    members = [member for member in get_args(declared) if member is not type(None)]
    if len(members) == 1:
        return _unwrap(members[0], data)
    if all(_is_model(member) for member in members):
        chosen = _by_discriminator(members, data)
        return (chosen, True) if chosen else (Union[tuple(members)], False)  # noqa: UP007
    return Union[tuple(members)], False  # noqa: UP007


def _by_discriminator(members: list[Any], data: Any) -> type[BaseModel] | None:
    if not isinstance(data, dict):
        return None
    for member in members:
        for name in _DISCRIMINATORS:
            field = member.model_fields.get(name)
            if field is not None and data.get(name) in get_args(field.annotation):
                return member
    return None


def _member(union: Any, label: str) -> Any:
    """The member that pydantic's label means: a class by its name, anything else is a plain value."""
    if label.startswith("tagged-union"):
        return next(member for member in get_args(union) if get_origin(member) is Annotated)
    for member in get_args(union):
        if _is_model(member) and member.__name__ in label:
            return member
    return next((member for member in get_args(union) if not _is_model(member)), Any)


def _inside(declared: Any, step: str | int) -> Any:
    if _is_model(declared):
        field = declared_fields(declared).get(str(step))
        return field.annotation if field else Any
    arguments = get_args(declared)
    if get_origin(declared) is dict:
        return arguments[1]
    if get_origin(declared) is tuple and arguments:
        return arguments[0] if arguments[-1] is Ellipsis or not isinstance(step, int) else arguments[step]
    return Any


def choices(declared: Any) -> tuple[str, ...]:
    """The allowed words of a Literal, else nothing."""
    return tuple(str(word) for word in get_args(declared)) if get_origin(declared) is Literal else ()


def _item(data: Any, step: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(step)
    return data[step] if isinstance(data, list) and isinstance(step, int) and step < len(data) else None


def _is_model(declared: Any) -> bool:
    return isinstance(declared, type) and issubclass(declared, BaseModel)
