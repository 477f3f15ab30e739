"""What every part of a catalog file is."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of the file: fixed once read, without fields of its own making."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
