"""What goes in and out over HTTP about usage that is consumed or leased; amounts are plain decimal strings."""

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from api.feature_events import Value
from api.models import Input, Key, Moment, Output, QuotaOut

DATA_MAX = 64


def _digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


AMOUNT_PATTERN = r"^[0-9]{1,16}(\.[0-9]{1,9})?$"
Amount = Annotated[
    str,
    BeforeValidator(_digits, json_schema_input_type=str | int),
    StringConstraints(pattern=AMOUNT_PATTERN),
    Field(examples=["1200"]),
]
"""How much of a feature: digits as text, or a whole number."""

Data = Annotated[dict[Key, Value], Field(max_length=DATA_MAX)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ConsumeIn(Input):
    """An amount of a feature, and the identity under which it is recorded."""

    id: Text = Field(examples=["req-0001"])
    source: Text = Field(examples=["gateway-1"])
    subject: Text = Field(examples=["acme"])
    feature: Key = Field(examples=["tokens"])
    amount: Amount
    time: Moment | None = Field(None, description="when it was used; now, unless given")
    data: Data = Field({}, description="further properties; decimals as text")


class ConsumeOut(Output):
    """Whether the usage was taken. What was not taken is not recorded."""

    allowed: bool
    duplicate: bool = Field(description="it was taken before: nothing has changed")
    items: list[QuotaOut] = Field(description="each quota that it counts in; those that refuse it, where they do")
