"""The content types of `POST /v1/events`."""

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
CSV = "text/csv"
JSON_KINDS = {
    "application/cloudevents+json": "one",
    "application/cloudevents-batch+json": "batch",
    "application/json": "either",
}
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
CONTENT_TYPES = (*JSON_KINDS, *NDJSON, CSV, ARROW, PARQUET)


def media_type_of(content_type: str) -> str:
    """A content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def is_columnar(media_type: str) -> bool:
    """Whether bodies of this type are columns, which may be larger than text."""
    return media_type in (ARROW, PARQUET)
