"""Pydantic's errors in the words of someone who writes a catalog file: a path they can find, a sentence, a cure."""

from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rating.catalog import model
from rating.catalog.literals import time_zones
from rating.catalog.presets import Price
from rating.catalog.problems import FloatLiteral, Problem, Suggestions, listed, path_of, show

EXAMPLES = {
    "tallystick": "`tallystick: 1`",
    "currencies": "`currencies: [USD]`",
    "currency": "`currency: USD`",
    "event_type": "the `type` of the events to meter, such as `event_type: llm.request`",
    "aggregation": "`aggregation: sum`, `aggregation: count` or another one",
    "amount": '`amount: "20"`',
    "unit_amount": '`unit_amount: "2.50"`',
    "package_size": "`package_size: 1000`",
    "percent": '`percent: "2.9"`',
    "basis_points": '`basis_points: "25"`',
    "tiers": "`tiers:` with a list of `up_to` and `unit_amount`",
    "size": "`size:` with the property that measures one event, such as `size: input_tokens`",
    "versions": "`versions:` with at least one version",
    "meter": "`meter:` with the key of a meter",
    "property": "`property:` with the name of a property of the events",
    "limit": '`limit: "1000000"`',
    "from": '`from: "16:30"`',
    "to": '`to: "00:30"`',
}
PRICE_CLASSES: dict[str, type[BaseModel]] = {
    get_args(kind.model_fields["model"].annotation)[0]: kind for kind in get_args(Price)
}

Explained = tuple[str, str]  # message and cure


def problems_of(error: ValidationError) -> list[Problem]:
    """One problem for each of the errors, in their order."""
    suggestions = Suggestions()
    return [_problem(details, suggestions) for details in error.errors(include_url=False) if not _is_echo(details)]


def _is_echo(details: ErrorDetails) -> bool:
    """A list whose entries are all wrong also counts as empty: that says nothing new."""
    return details["type"] == "too_short" and bool(details["input"])


def _problem(details: ErrorDetails, suggestions: Suggestions) -> Problem:
    steps = list(details["loc"])
    if steps[-1:] == ["[key]"]:
        steps.pop()
    explain = EXPLANATIONS.get(details["type"], _as_pydantic_says)
    message, cure = explain(details, suggestions)
    found = "" if details["type"] in WITHOUT_VALUE else show(details["input"])
    return Problem(path_of(_without_tag(steps)), found, message, cure)


def _without_tag(steps: Sequence[str | int]) -> list[str | int]:
    """The place without what tells the kinds of one part apart, such as the model of a price: pydantic puts it behind
    the place."""
    kind: Any = model.Catalog
    kept: list[str | int] = []
    for step in steps:
        is_tag = get_origin(kind) in (Union, UnionType) and _of_tag(kind, step) is not None
        kept += [] if is_tag else [step]
        kind = _inner_kind(kind, step)
    return kept


def _ours(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    context = details["ctx"]
    return _sentence(str(context["message"])), str(context["cure"])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _missing(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    field = str(details["loc"][-1])
    return f"`{field}` is missing.", f"Add {EXAMPLES.get(field, f'`{field}`')}."


def _unknown_field(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    steps = list(details["loc"])
    field = str(steps[-1])
    owner = model_at(steps[:-1])
    users = _models_with_field(steps[:-1], field)
    if users:
        used = f"The model {steps[2]} does not use `{field}`."
        return used, f"Remove it, or set `model` to {listed(users)}."
    if field == "<<":
        return "YAML merge keys are not read.", "Repeat the fields, or use an alias for a whole value."
    known = field_names(owner) if owner else []
    meant = suggestions.nearest(field, known)
    cure = f"Did you mean `{meant}`?" if meant else f"Remove it; the fields here are {listed(known, 'and')}."
    return f"There is no field `{field}` here.", cure


def _models_with_field(owner_steps: Sequence[str | int], field: str) -> list[str]:
    """The other price models that have `field` at this place of a price."""
    if len(owner_steps) < 3 or owner_steps[0] != "prices":
        return []
    places = {name: model_at([*owner_steps[:2], name, *owner_steps[3:]]) for name in PRICE_CLASSES}
    return [name for name, owner in places.items() if owner and field in field_names(owner)]


def model_at(steps: Sequence[str | int]) -> type[BaseModel] | None:
    """The class of the part of the document at a place that pydantic names; None where there is no such part."""
    kind: Any = model.Catalog
    for step in steps:
        kind = _inner_kind(kind, step)
        if kind is None:
            return None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _inner_kind(kind: Any, step: str | int) -> Any:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        return _bare(fields[str(step)].annotation) if step in fields else None
    if get_origin(kind) is dict or get_origin(kind) is tuple:
        return _bare(get_args(kind)[1 if get_origin(kind) is dict else 0])
    if get_origin(kind) in (Union, UnionType):
        return _of_tag(kind, step)
    return None


def _of_tag(union: Any, tag: str | int) -> Any:
    """The kind of a part that has `tag` in the field that tells its kinds apart."""
    for kind in get_args(union):
        fields = kind.model_fields.values() if isinstance(kind, type) and issubclass(kind, BaseModel) else ()
        if any(get_args(field.annotation) == (tag,) for field in fields if get_origin(field.annotation) is Literal):
            return kind
    return None


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def field_names(owner: type[BaseModel]) -> list[str]:
    """The fields of a part, as the file names them."""
    return [field.alias or name for name, field in owner.model_fields.items()]


def _not_text(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    value = details["input"]
    if isinstance(value, FloatLiteral):
        return "This must be text.", f'Write it as a string: "{value.text}".'
    if isinstance(value, (bool, int, float)):
        return "This must be text.", f'Write it as a string: "{show(value)}".'
    return "This must be text.", "Write it as a string."


def _not_a_mapping(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    return "This must be a mapping of fields to values.", _fields_cure(details) or "Write `key: value` under it."


def _fields_cure(details: ErrorDetails) -> str:
    owner = model_at(details["loc"])
    return f"Its fields are {listed(field_names(owner), 'and')}." if owner else ""


def _not_a_list(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    return "This must be a list.", "Write it in brackets, [a, b], or one entry a line, each after a `-`."


def _empty(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    return "This must not be empty.", f"Add {EXAMPLES.get(str(details['loc'][-1]), 'at least one entry')}."


def _not_one_of(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    if details["loc"] == ("tallystick",):
        return "This is not a format of catalog files that is known here.", "Write `tallystick: 1`."
    choices = _choices(details)
    meant = suggestions.nearest(details["input"], choices) if isinstance(details["input"], str) else None
    hint = f"Did you mean `{meant}`? " if meant else ""
    return "This is not one of the choices.", f"{hint}Write {listed(choices)}."


def _choices(details: ErrorDetails) -> list[str]:
    owner = model_at(details["loc"][:-1])
    fields = {field.alias or name: field for name, field in owner.model_fields.items()} if owner else {}
    field = fields.get(str(details["loc"][-1]))
    annotation = _bare(field.annotation) if field else None
    return [str(choice) for choice in get_args(annotation)] if get_origin(annotation) is Literal else []


def _unknown_time_zone(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    meant = suggestions.nearest(details["input"], time_zones())
    cure = f"Did you mean `{meant}`?" if meant else "Write a name of the IANA database, such as Europe/Madrid."
    return "This time zone is unknown.", cure


def _no_tag(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    field = details["ctx"]["discriminator"].strip("'")
    return f"`{field}` is missing.", f"Add `{field}:`{f' with {listed(PRICE_CLASSES)}' if field == 'model' else ''}."


def _unknown_tag(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    found, field = details["ctx"]["tag"], details["ctx"]["discriminator"].strip("'")
    known = [tag.strip(" '") for tag in details["ctx"]["expected_tags"].split(",")]
    meant = suggestions.nearest(found, known)
    hint = f"Did you mean `{meant}`? " if meant else ""
    what = "price model" if field == "model" else f"`{field}`"
    return f"There is no {what} `{found}`.", f"{hint}The {field}s are {listed(known, 'and')}."


def _as_pydantic_says(details: ErrorDetails, suggestions: Suggestions) -> Explained:
    return f"{_sentence(details['msg'])}.", "Compare it with docs/catalog.md."


EXPLANATIONS: Mapping[str, Callable[[ErrorDetails, Suggestions], Explained]] = {
    "catalog": _ours,
    "missing": _missing,
    "extra_forbidden": _unknown_field,
    "string_type": _not_text,
    "dict_type": _not_a_mapping,
    "model_type": _not_a_mapping,
    "model_attributes_type": _not_a_mapping,
    "tuple_type": _not_a_list,
    "too_short": _empty,
    "string_too_short": _empty,
    "literal_error": _not_one_of,
    "unknown_time_zone": _unknown_time_zone,
    "union_tag_not_found": _no_tag,
    "union_tag_invalid": _unknown_tag,
}
WITHOUT_VALUE = frozenset({"missing", "extra_forbidden", "union_tag_not_found", "union_tag_invalid"})
