"""Every setting of inkdigits: name, default, unit and help, read from the environment.

The fields of :class:`Settings` are the one table. The CLI's options, ``docs/settings.md`` and the checks of a value all
come from it, so a setting is added in one place.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

from inkdigits.errors import SettingError

__all__ = ["MAX_WORKERS", "Settings"]

MEBIBYTE = 1 << 20
MAX_WORKERS = 256
LEVELS = ("critical", "error", "warning", "info", "debug")


def _cache_folder() -> str:
    """The user's cache folder; one below the folder for temporary files where the user has no home."""
    try:
        return platformdirs.user_cache_dir("inkdigits")
    except RuntimeError:  # no HOME and no entry in passwd, as where a container runs under any user id
        return str(Path(tempfile.gettempdir(), "inkdigits"))


def _setting(
    default: Any,
    env: str,
    help: str,
    *,
    unit: str = "",
    low: int | None = None,
    high: int | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"env": env, "help": help, "unit": unit, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """All settings with their defaults; :meth:`from_env` reads them.

    Raises:
        SettingError: a value is of the wrong type or out of its range; the message names the setting.
    """

    host: str = _setting("127.0.0.1", "HOST", "address the server listens on; 0.0.0.0 is every interface")
    port: int = _setting(9696, "PORT", "port the server listens on; 0 takes a free one", low=0, high=65535)
    workers: int = _setting(
        0,
        "INKDIGITS_WORKERS",
        "server processes; 0: one for each core that affinity, cgroup limits and memory allow",
        low=0,
        high=MAX_WORKERS,
    )
    model: str = _setting("", "INKDIGITS_MODEL", "name of a shipped model or path of an .onnx file; empty: the default")
    threads: int = _setting(1, "INKDIGITS_THREADS", "threads of one network run", low=1, high=256)
    ray_address: str = _setting(
        "", "RAY_ADDRESS", "Ray cluster for predict --engine ray, HOST:6379 or auto; empty: one is started for the run"
    )
    data: str = _setting("", "INKDIGITS_DATA", "folder that holds data sets (mnist/…); empty: download to the cache")
    cache: str = _setting(_cache_folder(), "INKDIGITS_CACHE", "folder that downloaded data sets are kept in")
    runs: str = _setting("runs", "INKDIGITS_RUNS", "folder that each training run leaves its record in")
    max_bytes: int = _setting(
        20 * MEBIBYTE, "INKDIGITS_MAX_BYTES", "largest request body, and largest image file", unit="bytes", low=1024
    )
    max_pixels: int = _setting(
        4096 * 4096, "INKDIGITS_MAX_PIXELS", "largest image, width × height", unit="pixels", low=784
    )
    max_files: int = _setting(100, "INKDIGITS_MAX_FILES", "most images in one request", low=1)
    cors_origins: str = _setting(
        "", "INKDIGITS_CORS_ORIGINS", "origins, separated by commas, whose pages may call the server; * is any"
    )
    max_connections: int = _setting(
        4096,
        "INKDIGITS_MAX_CONNECTIONS",
        "most open connections of one process, fewer where ulimit -n allows fewer; further ones get 503",
        low=1,
    )
    max_queue: int = _setting(
        512, "INKDIGITS_MAX_QUEUE", "most small requests of one process that wait; further ones get 503", low=1
    )
    max_heavy: int = _setting(
        16,
        "INKDIGITS_MAX_HEAVY",
        "most requests with large images that one process works on or has waiting; further ones get 503",
        low=1,
    )
    max_buffered: int = _setting(
        128 * MEBIBYTE,
        "INKDIGITS_MAX_BUFFERED",
        "most of all large request bodies together that one process holds; beyond it they get 503",
        unit="bytes",
        low=1024,
    )
    receive_seconds: int = _setting(
        60,
        "INKDIGITS_RECEIVE_SECONDS",
        "time a client gets to send one request, and to take each part of an answer; then 408",
        unit="seconds",
        low=1,
        high=3600,
    )
    keep_alive_seconds: int = _setting(
        65,
        "INKDIGITS_KEEP_ALIVE_SECONDS",
        "time a connection stays open without a request; more than a proxy in front has",
        unit="seconds",
        low=1,
        high=3600,
    )
    frozen_seconds: int = _setting(
        5,
        "INKDIGITS_FROZEN_SECONDS",
        "time after which one of several workers that does not stir is killed and replaced",
        unit="seconds",
        low=1,
        high=3600,
    )
    api_keys: str = _setting(
        "",
        "INKDIGITS_API_KEYS",
        "SHA-256 hashes of the keys that may ask for predictions, in hex, separated by commas; empty: no key is needed",
    )
    rate_limit: int = _setting(
        0, "INKDIGITS_RATE_LIMIT", "most predictions of one client a second, by key or address; 0: no limit", low=0
    )
    rate_burst: int = _setting(
        20, "INKDIGITS_RATE_BURST", "predictions that a client may ask for at once before the rate counts", low=1
    )
    proxies: int = _setting(
        0,
        "INKDIGITS_PROXIES",
        "proxies in front whose X-Forwarded-For names the client: it is this entry, counted from the end",
        low=0,
        high=16,
    )
    log_level: str = _setting("info", "INKDIGITS_LOG_LEVEL", "least serious lines that are logged", choices=LEVELS)
    log_format: str = _setting("text", "INKDIGITS_LOG_FORMAT", "form of each line of the log", choices=("text", "json"))
    log_requests: str = _setting(
        "off", "INKDIGITS_LOG_REQUESTS", "log each request; log level debug does too", choices=("off", "on")
    )
    tracing: str = _setting(
        "off",
        "INKDIGITS_TRACING",
        "OpenTelemetry traces, sent where OTEL_EXPORTER_OTLP_ENDPOINT says; needs inkdigits[otel]",
        choices=("off", "otlp"),
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            kind = type(f.default)
            if type(value) is not kind:
                raise SettingError(f"{_label(f)} must be {_noun(kind)}, not {value!r}")
            low, high = f.metadata["low"], f.metadata["high"]
            if (low is not None and value < low) or (high is not None and value > high):
                bounds = f"from {low} to {high}" if high is not None else f"{low} or more"
                raise SettingError(f"{_label(f)} must be {bounds}, not {value}")
            if (choices := f.metadata["choices"]) and value not in choices:
                raise SettingError(f"{_label(f)} must be one of {', '.join(choices)}, not {value!r}")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Settings from the environment, then from ``overrides`` (those that are not None), such as CLI options.

        An environment variable that is empty counts as not set.

        Raises:
            SettingError: a value cannot be used, or an override names no setting.
        """
        environ = os.environ if environ is None else environ
        known = {f.name: f for f in fields(cls)}
        if unknown := sorted(set(overrides) - set(known)):
            raise SettingError(f"unknown setting {unknown[0]!r}; the settings are: {', '.join(known)}")
        values: dict[str, Any] = {}
        for name, f in known.items():
            if overrides.get(name) is not None:
                values[name] = overrides[name]
            elif text := environ.get(f.metadata["env"]):
                values[name] = _parse(f, text)
        return cls(**values)

    @property
    def data_folder(self) -> Path | None:
        """The folder named by ``data``, or None where data sets are to be downloaded."""
        return Path(self.data).expanduser() if self.data else None


def _parse(f: Any, text: str) -> Any:
    kind = type(f.default)
    try:
        return kind(text)
    except ValueError:
        raise SettingError(f"{_label(f)} must be {_noun(kind)}, not {text!r}") from None


def _label(f: Any) -> str:
    return f"{f.name} ({f.metadata['env']})"


def _noun(kind: type) -> str:
    return {int: "a whole number", str: "text"}[kind]
