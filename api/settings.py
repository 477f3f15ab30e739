"""What a deployment can set: read once from the environment (`TALLYSTICK_...`), then passed on as plain values."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """One process serves one data directory. Every field is `TALLYSTICK_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="TALLYSTICK_", frozen=True, extra="forbid")

    data: Path = Path("data/live")
    """The data directory: journal, usage table, charge lines, and by default the database."""
    host: str = "127.0.0.1"
    """The address to listen on; the default is reached from this machine only."""
    port: Port = 8080
    """The port to listen on; 0 takes a free one."""
    database_url: str | None = None
    """SQLite or PostgreSQL; none is a SQLite file in the data directory."""
    body_bytes_max: Annotated[int, Field(gt=0)] = 8 * MIB
    """The largest request body; a larger one is answered 413 before it is read whole."""
    arrow_body_bytes_max: Annotated[int, Field(gt=0)] = 64 * MIB
    """The same for a body that is an Arrow stream."""

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data / 'tallystick.sqlite'}"
