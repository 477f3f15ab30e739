"""The messages of Envoy's rate limit service, as far as it is served here, without generated code.

Source: envoy/service/ratelimit/v3/rls.proto and envoy/extensions/common/ratelimit/v3/ratelimit.proto, whose names and
numbers of fields these are. They have a pool of their own, beside whatever else is loaded into this process.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, wrappers_pb2

SERVICE = "envoy.service.ratelimit.v3.RateLimitService"
OK, OVER_LIMIT = 1, 2
"""Codes of a RateLimitResponse."""

_Field = descriptor_pb2.FieldDescriptorProto
_TEXT, _UINT32 = _Field.TYPE_STRING, _Field.TYPE_UINT32
_COMMON, _SERVED = ".envoy.extensions.common.ratelimit.v3", ".envoy.service.ratelimit.v3"
_ANSWER = f"{_SERVED}.RateLimitResponse"
_REPEATED = frozenset({"descriptors", "entries", "statuses", "response_headers_to_add"})
_Kind = int | str  # of a scalar, or the name of a message
_Message = Any  # a DescriptorProto; the package has no types


def _message(name: str, fields: dict[str, tuple[int, _Kind]], *nested: _Message) -> _Message:
    """A message with fields by name, each a number and a kind."""
    message: _Message = descriptor_pb2.DescriptorProto(name=name, nested_type=nested)
    for field, (number, kind) in fields.items():
        added = message.field.add(name=field, number=number)
        added.label = _Field.LABEL_REPEATED if field in _REPEATED else _Field.LABEL_OPTIONAL
        if isinstance(kind, str):
            added.type, added.type_name = _Field.TYPE_MESSAGE, kind
        else:
            added.type = kind
    return message


_HEADERS = _message("HeaderValue", {"key": (1, _TEXT), "value": (2, _TEXT)})
_DESCRIPTOR = _message(
    "RateLimitDescriptor",
    {"entries": (1, f"{_COMMON}.RateLimitDescriptor.Entry"), "hits_addend": (3, ".google.protobuf.UInt64Value")},
    _message("Entry", {"key": (1, _TEXT), "value": (2, _TEXT)}),
)
_REQUEST = _message(
    "RateLimitRequest",
    {"domain": (1, _TEXT), "descriptors": (2, f"{_COMMON}.RateLimitDescriptor"), "hits_addend": (3, _UINT32)},
)
_RESPONSE = _message(
    "RateLimitResponse",
    {
        "overall_code": (1, _UINT32),  # an enum there: the same on the wire
        "statuses": (2, f"{_ANSWER}.DescriptorStatus"),
        "response_headers_to_add": (3, ".envoy.config.core.v3.HeaderValue"),
    },
    _message("RateLimit", {"requests_per_unit": (1, _UINT32), "name": (3, _TEXT)}),
    _message(
        "DescriptorStatus",
        {
            "code": (1, _UINT32),
            "current_limit": (2, f"{_ANSWER}.RateLimit"),
            "limit_remaining": (3, _UINT32),
            "duration_until_reset": (4, ".google.protobuf.Duration"),
        },
    ),
)
_FILES = {
    "envoy.config.core.v3": [_HEADERS],
    "envoy.extensions.common.ratelimit.v3": [_DESCRIPTOR],
    "envoy.service.ratelimit.v3": [_REQUEST, _RESPONSE],
}


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    known = []
    for library in (duration_pb2, wrappers_pb2):
        pool.AddSerializedFile(library.DESCRIPTOR.serialized_pb)
        known.append(library.DESCRIPTOR.name)
    for package, messages in _FILES.items():
        name = f"{package}.proto"
        file = descriptor_pb2.FileDescriptorProto(
            name=name, package=package, syntax="proto3", message_type=messages, dependency=known
        )
        pool.AddSerializedFile(file.SerializeToString())
        known.append(name)
    names = ("RateLimitRequest", "RateLimitResponse")
    found = {name: pool.FindMessageTypeByName(f"{_SERVED[1:]}.{name}") for name in names}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


_made = _classes()
RateLimitRequest, RateLimitResponse = _made["RateLimitRequest"], _made["RateLimitResponse"]
