"""The difference of two JSON objects as a merge patch (RFC 7396), their numbers digit for digit."""

import msgspec
from msgspec import Raw

_read = msgspec.json.Decoder(dict[str, Raw]).decode
_NULL = Raw(b"null")


class NotAnObject(ValueError):
    """The text is no JSON object."""


def patch_between(before: bytes, after: bytes) -> bytes:
    """What makes `after` of `before`. A null of `after` cannot be said by a patch: it takes the member away. Raises
    NotAnObject."""
    try:
        msgspec.json.decode(after)  # the whole of it: the members are looked at raw
        return _patch(_read(before), _read(after))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise NotAnObject(f"this is no JSON object: {error}") from error


def _patch(before: dict[str, Raw], after: dict[str, Raw]) -> bytes:
    gone = dict.fromkeys((name for name in before if name not in after), _NULL)
    changed = {
        name: _changed(before[name], value) if name in before else value
        for name, value in after.items()
        if name not in before or not _is_same(before[name], value)
    }
    return msgspec.json.encode({**gone, **changed})


def _changed(before: Raw, after: Raw) -> Raw:
    """An object inside is patched member by member; everything else is replaced."""
    if _is_object(before) and _is_object(after):
        return Raw(_patch(_read(before), _read(after)))
    return after


def _is_same(before: Raw, after: Raw) -> bool:
    """Whether both are written with the same characters, blanks between them apart."""
    return msgspec.json.format(bytes(before), indent=-1) == msgspec.json.format(bytes(after), indent=-1)


def _is_object(value: Raw) -> bool:
    return bytes(value).lstrip()[:1] == b"{"
