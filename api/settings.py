"""What a deployment can set: read once from the environment (`TALLYSTICK_...`) and a TOML file (`TALLYSTICK_CONFIG`),
then passed on as plain values. The environment wins over the file. docs/settings.md is made of this class."""

import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ingest.limits import IngestLimits

PREFIX = "TALLYSTICK_"
CONFIG = "TALLYSTICK_CONFIG"
MIB = 1024 * 1024
Positive = Annotated[int, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


class ConfigUnreadable(Exception):
    """The file of settings is not there, or is no TOML."""


class Settings(BaseSettings):
    """One process serves one data directory. Every field is `TALLYSTICK_` and its name in capitals, or its name in the
    file. Raises ValidationError and ConfigUnreadable."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    data: Path = Path("data/live")
    """The data directory: journal, usage table, charge lines, and by default the database."""
    host: str = "127.0.0.1"
    """The address to listen on; the default is reached from this machine only."""
    port: Port = 8080
    """The port to listen on; 0 takes a free one."""
    ratelimit_port: Port | None = None
    """The port of Envoy's rate limit service over gRPC (docs/gateways/); none is no such service."""
    database_url: Annotated[str | None, Field(repr=False)] = None
    """SQLite or PostgreSQL; none is a SQLite file in the data directory."""
    body_bytes_max: Positive = 8 * MIB
    """The largest request body; a larger one is answered 413 before it is read whole."""
    arrow_body_bytes_max: Positive = 64 * MIB
    """The same for a body of columns: Arrow or Parquet."""
    inflated_bytes_max: Positive = 32 * MIB
    """What a compressed body of text may unpack to (one of columns: `arrow_body_bytes_max`)."""
    inflated_ratio_max: Positive = 200
    """How many times its size a compressed body may unpack to, above the first MiB."""
    events_per_batch_max: Positive = 100_000
    """Events in one body."""
    columns_max: Positive = 512
    """Columns of a CSV, Arrow or Parquet body."""
    string_bytes_max: Positive = 1024
    """Bytes of `id`, `source`, `type`, `subject`, and of each declared string."""
    data_bytes_max: Positive = 64 * 1024
    """Bytes of the undeclared part of an event's `data`."""
    data_depth_max: Positive = 8
    """How deep that part is nested."""
    data_properties_max: Positive = 128
    """How many properties that part has."""
    refuse_repeated_keys: bool = True
    """Refuse a JSON event with a key twice; false lets the last one count, and decodes JSON about 10 % faster."""
    future_tolerance_seconds: Annotated[int, Field(ge=0)] = 3600
    """How far the time of an event may be ahead of the clock here."""
    rejection_body_bytes_max: Positive = 64 * 1024
    """How much of a refused event is kept."""
    rejections_bytes_max: Annotated[int, Field(ge=MIB)] = 256 * MIB
    """How much room refused events have; beyond it the oldest are dropped."""
    rejections_days: Positive = 30
    """How long refused events are kept."""
    open_backfills_max: Positive = 4
    """How many backfills may be open at one time: each takes the memory and threads of a log of its own."""
    part_subscriptions_max: Positive = 250_000
    """About how many subscriptions a rating run rates and stores at a time: about 10 KiB of memory each."""
    lease_seconds_max: Positive = 3600
    """How long a lease of a quota may be valid, before it is renewed."""
    leases_open_max: Positive = 1_000_000
    """How many leases may be open at one time."""
    subject_buckets: Positive = 4
    """Into how many parts a new usage table divides the subjects of a day."""
    merged_rows_max: Positive = 500_000
    """Rows of the usage table that one pass of its upkeep reads into memory."""
    retention_hours: Annotated[int, Field(ge=1, le=168)] = 1
    """How long files that were merged stay for those who still read them: longer than a rating run takes."""

    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """What is logged of this program; of libraries, warnings. `debug` shows messages of faults, which may name data."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """A line of JSON for each thing that is logged, or text for people; `auto` is text on a terminal."""
    log_requests: Literal["failed", "all"] = "failed"
    """Which requests are logged: those that were slow or answered 5xx, or all."""
    log_slow_seconds: Annotated[float, Field(ge=0)] = 2.0
    """How long an answer takes to begin before its request is called slow."""
    tracing: bool = False
    """Send OpenTelemetry traces, as the variables of that standard (`OTEL_...`) say; needs tallystick[tracing]."""

    webhook_private_addresses: bool = False
    """Let webhooks be sent to addresses that are not of the public Internet, and to every port."""
    webhook_http: bool = False
    """Let webhooks be sent without TLS."""
    webhook_ports: Annotated[str, Field(pattern=r"^[0-9]{1,5}(,[0-9]{1,5})*$")] = "443,8443"
    """The ports that webhooks may be sent to."""
    webhook_seconds: Annotated[float, Field(gt=0, le=60)] = 10
    """How long a receiver has for all of one delivery."""
    webhook_days: Annotated[int, Field(ge=1, le=30)] = 3
    """For how long a delivery is tried again before it is given up."""
    webhook_waiting_max: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    """How many deliveries wait for one endpoint at a time; further signals wait in the outbox."""

    webhook_dead_days: Positive = 90
    """For how long deliveries that were given up are kept, to be tried again."""
    signals_days: Positive = 30
    """For how long signals, deliveries and the log of tries are kept. What somebody waits for stays."""

    signals_nats_url: str | None = None
    """The NATS servers, with commas between, whose JetStream signals are published to; none is no such thing."""
    signals_nats_subject: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = "tallystick.signals"
    """What the subjects of signals begin with; the type of the signal follows."""

    session_idle_minutes: Annotated[int, Field(ge=1, le=60 * 24 * 7)] = 8 * 60
    """How long a login to the dashboard lives without being used."""
    session_hours: Annotated[int, Field(ge=1, le=24 * 90)] = 7 * 24
    """How long it lives at all."""
    docs: bool = True
    """Serve the OpenAPI document and its page, to everybody who can reach the server."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given wins over the environment, and that over the file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, config_values())

    def ingest_limits(self) -> IngestLimits:
        """The settings that are limits of ingest."""
        return IngestLimits(
            json_bytes=self.body_bytes_max,
            arrow_bytes=self.arrow_body_bytes_max,
            inflated_bytes=self.inflated_bytes_max,
            inflated_ratio=self.inflated_ratio_max,
            events_per_batch=self.events_per_batch_max,
            columns=self.columns_max,
            string_bytes=self.string_bytes_max,
            data_bytes=self.data_bytes_max,
            data_depth=self.data_depth_max,
            data_properties=self.data_properties_max,
            refuse_repeated_keys=self.refuse_repeated_keys,
            future_tolerance=timedelta(seconds=self.future_tolerance_seconds),
            rejection_body_bytes=self.rejection_body_bytes_max,
            rejections_bytes=self.rejections_bytes_max,
            rejections_age=timedelta(days=self.rejections_days),
            subject_buckets=self.subject_buckets,
            merged_rows=self.merged_rows_max,
            retention_hours=self.retention_hours,
        )

    def webhook_port_list(self) -> frozenset[int]:
        """The ports of `webhook_ports`."""
        return frozenset(map(int, self.webhook_ports.split(",")))

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data / 'tallystick.sqlite'}"


def config_path(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file of settings, if one is named."""
    named = environment.get(CONFIG)
    return Path(named) if named else None


def config_values() -> dict[str, Any]:
    """What the file of settings says, not checked yet. Raises ConfigUnreadable."""
    path = config_path()
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigUnreadable(f"the settings in {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigUnreadable(f"the settings in {path} are no TOML: {error}") from error
