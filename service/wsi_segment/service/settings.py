"""How a server is set up: flags, environment variables ``WSI_SEGMENT_*`` and one TOML file, in this order."""

from __future__ import annotations

import re
import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ByteSize, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from wsi_segment.errors import InputError
from wsi_segment.model.first_problem import first_problem

PREFIX = "WSI_SEGMENT_"
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_OWN = frozenset({"v1", "docs", "health", "metrics", "openapi.json", "static", "signed", "view"})
"""First parts of the server's own paths: a prefix that starts like one could not be distinguished from them."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that only programs on the same machine can reach."""


def is_loopback(host: str) -> bool:
    """Return whether only programs on the same machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK


def is_prefix(text: str) -> bool:
    """Return whether a text is a path that may stand before the server's own: ``/wsi``, or empty."""
    parts = text.split("/")
    return bool(_PREFIX.fullmatch(text)) and parts[min(1, len(parts) - 1)] not in _OWN and not {".", ".."} & set(parts)


def _listed(value: Any) -> Any:
    """Split a text with commas, as environment variables have it; return a list as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class Settings(BaseSettings):
    """Every setting of a server; ``docs/guide/serve.md`` describes them for users."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    root: Texts = Field((), description="folder of slides, as PATH or NAME=PATH, or the start of addresses; repeatable")
    data: Path = Field(Path("wsi-data"), description="folder for the database, results and uploads")
    results: Texts = Field((), description="folder of finished masks to serve too; repeatable")
    models: Path | None = Field(None, description="folder of model folders, in addition to the bundled models")
    database: str | None = Field(None, description="URL of a PostgreSQL database; default: SQLite in data")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    workers: int = Field(1, ge=0, le=256, description="worker processes, one job each")
    worker_threads: int = Field(0, ge=0, description="threads per worker; 0 divides the cores among the workers")
    worker_memory: ByteSize | None = Field(
        None, description="memory limit per worker, such as 4GiB; without it, by what is free"
    )
    scheduler: str | None = Field(
        None, description="address of a Dask scheduler whose workers compute, such as tcp://host:8786"
    )
    tls_ca: Path | None = Field(None, description="certificate of the authority of a tls:// cluster, PEM")
    tls_cert: Path | None = Field(None, description="this server's certificate for the cluster, PEM")
    tls_key: Path | None = Field(None, description="key of that certificate, PEM")
    device: Literal["auto", "cpu", "cuda", "openvino"] = Field("auto", description="where networks run")
    allowed_host: Texts = Field(
        (), description="host name that clients may use, in addition to this machine's; repeatable"
    )
    allowed_origin: Texts = Field(
        (), description="origin of web pages that may call, such as https://lab.org; repeatable"
    )
    trusted_proxy: Texts = Field(
        (), description="address of a reverse proxy whose X-Forwarded-For, -Proto and -Prefix count; repeatable"
    )
    root_path: str = Field(
        "", description="path that a reverse proxy puts before all addresses, such as /wsi", validate_default=False
    )
    hook_host: Texts = Field(
        (),
        description="host of web hooks, as NAME, NAME:PORT, address or network; private addresses only if named; "
        "repeatable",
    )
    hook_ca: Path | None = Field(None, description="certificates (PEM) of a private authority of such hosts")
    max_body: ByteSize = Field(ByteSize(16 << 20), description="largest body of a job or a batch")
    upload_limit: ByteSize = Field(ByteSize(0), description="largest slide that may be uploaded; 0 refuses uploads")
    uploads_total: ByteSize = Field(ByteSize(0), description="bytes of all uploads together; 0 for any number")
    keep_days: float | None = Field(None, gt=0, description="days after which results and uploads are removed")
    job_windows: int = Field(0, ge=0, description="windows of the network that a job may need; 0 for any number")
    job_hours: float = Field(0, ge=0, description="hours that a job may run; 0 for any number")
    stall_minutes: float = Field(15, gt=0, description="minutes without progress until a job is taken from its worker")
    min_free: ByteSize = Field(ByteSize(1 << 30), description="free disk space below which no job is started")
    log: Literal["text", "json"] = Field("text", description="format of the log on standard error")

    @field_validator("root_path")
    @classmethod
    def _check_prefix(cls, text: str) -> str:
        prefix = text.rstrip("/")
        if not is_prefix(prefix):
            raise ValueError("not a path such as /wsi, or one that begins as the server's own do")
        return prefix

    @property
    def door(self) -> str | None:
        """The setting that lets other machines reach the server, as messages name fields; None where they cannot."""
        if not is_loopback(self.host):
            return f"`host {self.host}`"
        for field, values in (("allowed_host", self.allowed_host), ("trusted_proxy", self.trusted_proxy)):
            if values:  # a reverse proxy lets others in, whatever the address behind it
                return f"`{field} {values[0]}`"
        return None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put flags before the environment; the file comes in below them, see :func:`load_settings`."""
        return init_settings, env_settings


def load_settings(flags: dict[str, Any], config: Path | None) -> Settings:
    """Read the settings from flags, environment and file.

    Args:
        flags: The ones that were given, by field.
        config: A TOML file whose keys are the fields, or None.

    Raises:
        InputError: a value is wrong, or a key is unknown.
    """
    try:
        from_file = tomllib.loads(config.read_text(encoding="utf-8")) if config is not None else {}
    except OSError as error:
        raise InputError(f"`config` {config}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"`config` {config}: not TOML: {error}") from error
    unknown = sorted(from_file.keys() - Settings.model_fields.keys())
    if unknown:
        raise InputError(f"`config` {config}: unknown key {unknown[0]!r}; keys are: {', '.join(Settings.model_fields)}")
    try:
        from_environment = Settings(**flags).model_dump(exclude_unset=True)
        return Settings(**from_file | from_environment)
    except ValidationError as error:
        problem = first_problem(error)
        raise InputError(f"`{problem.field.partition('.')[0]} {problem.value}`: {problem.reason}") from error
