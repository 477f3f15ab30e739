"""A signal as JSON: the same in the list, in the stream and in a webhook."""

from dataclasses import fields

import orjson

from store.signals import RecordedSignal

_NAMES = ("sequence", *(field.name for field in fields(RecordedSignal) if field.name != "sequence"))


def signal_json(signal: RecordedSignal) -> bytes:
    """The same signal, the same bytes: a receiver may compare what it gets again."""
    return orjson.dumps({name: getattr(signal, name) for name in _NAMES}, option=orjson.OPT_UTC_Z)
