"""The text of a catalog file to plain values: mappings, lists, strings, whole numbers, true, false, null.

YAML is read by its 1.2 core schema, whatever the rest of the world's loaders make of it: dates and times stay the text
they are (`16:30` is no sexagesimal number, `no` no boolean), a number with a point stays text too (FloatLiteral).
A key that is given twice is a problem, in YAML and in JSON. Values are built from the parser's events, not from its
node graph: a price book of 5,800 prices is read in 0.25 s instead of 1.4 s.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import yaml

from rating.catalog.problems import FloatLiteral, Problem, path_of, show

DEPTH_MAX = 32
VALUES_MAX = 5_000_000
WHOLE_NUMBER_CHARACTERS_MAX = 60

Format = Literal["yaml", "json"]
Document = Any

_WHOLE_NUMBER = re.compile(r"^[-+]?(0|[1-9][0-9]*)$", re.ASCII)
_NUMBER = re.compile(
    r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$", re.ASCII
)
_CONSTANTS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    text: text.lower() == "true" for text in ("true", "True", "TRUE", "false", "False", "FALSE")
}
_NUMBER_STARTS = frozenset("+-.0123456789")


class Unreadable(Exception):
    """The text cannot be read any further."""

    def __init__(self, path: str, message: str, cure: str) -> None:
        super().__init__(message)
        self.problem = Problem(path, "", message, cure)


def read_document(text: str | bytes, file_format: Format | None) -> tuple[Document, list[Problem]]:
    """The document in `text` and the keys that it repeats. Without a format, text that starts with `{` is JSON.

    Raises Unreadable where the text is not YAML or JSON at all.
    """
    decoded = _decode(text).removeprefix("\ufeff")
    if not decoded.strip():
        raise Unreadable("", "The file is empty.", "Start it with `tallystick: 1`.")
    is_json = file_format == "json" or (file_format is None and decoded.lstrip().startswith("{"))
    return _read_json(decoded) if is_json else _read_yaml(decoded)


def _decode(text: str | bytes) -> str:
    if isinstance(text, str):
        if not _is_unicode(text):
            raise Unreadable("", "The text has half a character in it (a surrogate).", "Read the file as UTF-8.")
        return text
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"byte {error.start}", "The file is not UTF-8 text.", "Save it as UTF-8.") from None


def _read_json(text: str) -> tuple[Document, list[Problem]]:
    try:
        document = json.loads(
            text,
            parse_int=_whole_number,
            parse_float=FloatLiteral,
            parse_constant=FloatLiteral,
            object_pairs_hook=_mapping,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Unreadable(place, f"This is not JSON: {error.msg}.", "Mend the file at this place.") from None
    except RecursionError:
        raise _too_deep("") from None
    repeated = list(_repeated_keys(document))
    if "\\u" in text and not _is_unicode(json.dumps(document, ensure_ascii=False, default=str)):
        raise Unreadable("", "An escape such as \\ud800 is half a character.", "Write the character itself.")
    return document, repeated


def _is_unicode(text: str) -> bool:
    """Whether `text` is free of surrogates, which have no form in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _whole_number(text: str) -> int | FloatLiteral:
    return int(text) if len(text) <= WHOLE_NUMBER_CHARACTERS_MAX else FloatLiteral(text)


class _RepeatingMapping(dict[str, Any]):
    """A JSON object that gave some keys twice."""

    repeated: tuple[str, ...] = ()


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) == len(pairs):
        return mapping
    seen: set[str] = set()
    repeating = _RepeatingMapping(mapping)
    repeating.repeated = tuple(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]  # add gives None
    return repeating


def _repeated_keys(document: Document) -> Iterator[Problem]:
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    while waiting:
        steps, value = waiting.pop()
        if len(steps) > DEPTH_MAX:
            raise _too_deep(path_of(steps))
        if isinstance(value, _RepeatingMapping):
            yield from (_repeated((*steps, key), "") for key in value.repeated)
        children: Iterable[tuple[str | int, Any]] = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        waiting.extend(((*steps, key), child) for key, child in children if isinstance(child, (dict, list)))


def _repeated(steps: Iterable[str | int], place: str) -> Problem:
    return Problem(path_of(steps), "", f"This key is given twice{place}.", "Keep one of the two.")


def _too_deep(path: str) -> Unreadable:
    return Unreadable(path, f"The file is nested deeper than {DEPTH_MAX} levels.", "A catalog needs fewer than ten.")


def _read_yaml(text: str) -> tuple[Document, list[Problem]]:
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    builder = _YamlBuilder()
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = error.problem or error.context or "it cannot be parsed"
        raise Unreadable(place, f"This is not YAML: {reason}.", "Mend the file at this place.") from None
    except yaml.YAMLError as error:
        raise Unreadable("", f"This is not YAML: {' '.join(str(error).split())}.", "Mend the file.") from None
    return builder.document, builder.problems


class _YamlBuilder:
    """Puts values together from the events of a YAML parser; holds what is open while they come in."""

    def __init__(self) -> None:
        self.document: Document = None
        self.problems: list[Problem] = []
        self._documents = 0
        self._values = 0
        self._open: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str | None] = []  # of each open mapping, the key whose value comes next
        self._anchors_open: list[tuple[str | None, int]] = []
        self._anchors: dict[str, tuple[Any, int]] = {}

    def take(self, event: yaml.Event) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._take_scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._take_start(event, {} if kind is yaml.MappingStartEvent else [])
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._take_end()
        elif kind is yaml.AliasEvent:
            self._take_alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                raise Unreadable(_place(event), "There is a second document.", "Keep one catalog in one file.")

    def _take_scalar(self, event: Any) -> None:
        if self._open and type(self._open[-1]) is dict and self._keys[-1] is None:
            self._take_key(event)
            return
        value = event.value
        if event.implicit[0]:
            if not event.style:
                value = _plain_scalar(value)
        elif event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._refuse_tag(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, 1)

    def _take_key(self, event: Any) -> None:
        key = event.value
        mapping = self._open[-1]
        if key in mapping:
            self.problems.append(_repeated((*self._path(), key), f", again in line {event.start_mark.line + 1}"))
        self._keys[-1] = key

    def _take_start(self, event: Any, container: dict[str, Any] | list[Any]) -> None:
        if self._open and type(self._open[-1]) is dict and self._keys[-1] is None:
            raise Unreadable(_place(event), "A mapping or list is used as a key.", "Write a plain text as the key.")
        if len(self._open) >= DEPTH_MAX:
            raise _too_deep(_place(event))
        if event.tag is not None and not event.implicit:
            self._refuse_tag(event)
        self._open.append(container)
        self._keys.append(None)
        self._anchors_open.append((event.anchor, self._values))

    def _take_end(self) -> None:
        container = self._open.pop()
        self._keys.pop()
        anchor, values_before = self._anchors_open.pop()
        if anchor is not None:
            self._anchors[anchor] = (container, self._values - values_before + 1)
        self._add(container, 1)

    def _take_alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise Unreadable(_place(event), f"The alias *{event.anchor} has no anchor before it.", "Define it first.")
        if self._open and type(self._open[-1]) is dict and self._keys[-1] is None:
            raise Unreadable(_place(event), "An alias is used as a key.", "Write a plain text as the key.")
        self._add(*self._anchors[event.anchor])

    def _add(self, value: Any, values: int) -> None:
        self._values += values
        if self._values > VALUES_MAX:
            raise Unreadable("", f"The file holds more than {VALUES_MAX} values.", "Split it, or use fewer aliases.")
        if not self._open:
            self.document = value
            return
        container = self._open[-1]
        if type(container) is list:
            container.append(value)
            return
        key = self._keys[-1]
        assert key is not None
        assert isinstance(container, dict)
        container.setdefault(key, value)
        self._keys[-1] = None

    def _path(self) -> list[str | int]:
        """The steps to the innermost open container."""
        outer = zip(self._open[:-1], self._keys[:-1], strict=True)
        return [len(container) if isinstance(container, list) else str(key) for container, key in outer]

    def _refuse_tag(self, event: Any) -> None:
        raise Unreadable(_place(event), f"The tag {show(event.tag)} is not read.", "Remove it.")


def _place(event: Any) -> str:
    return f"line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"


def _plain_scalar(text: str) -> str | int | bool | FloatLiteral | None:
    """A scalar without quotes, by the core schema of YAML 1.2."""
    if text[:1] in _NUMBER_STARTS:
        if _WHOLE_NUMBER.fullmatch(text):
            return _whole_number(text)
        if _NUMBER.fullmatch(text) and not (text.isdigit() and text.startswith("0")):
            return FloatLiteral(text)
        return text
    return _CONSTANTS.get(text, text)
