"""Every setting of inkdigits: name, default, unit and help, read from the environment.

The fields of :class:`Settings` are the one table. The CLI's options, ``docs/settings.md`` and the checks of a value all
come from it, so a setting is added in one place.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import platformdirs

from inkdigits.options import Options, option

__all__ = ["MAX_WORKERS", "Settings"]

MEBIBYTE = 1 << 20
MAX_WORKERS = 256
DAY_SECONDS = 24 * 60 * 60
LEVELS = ("critical", "error", "warning", "info", "debug")


def _cache_folder() -> str:
    """Return the user's cache folder; one below the folder for temporary files if the user has no home."""
    try:
        return platformdirs.user_cache_dir("inkdigits")
    except RuntimeError:  # no HOME and no entry in passwd, as where a container runs under any user id
        return str(Path(tempfile.gettempdir(), "inkdigits"))


@dataclass(frozen=True)
class Settings(Options):
    """All settings with their defaults; :meth:`from_env` reads them.

    Raises:
        SettingError: a value has the wrong type or is out of bounds; the message names the setting.
    """

    KIND: ClassVar[str] = "setting"

    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0: every interface", env="HOST")
    port: int = option(9696, "port to listen on; 0: any free port", env="PORT", low=0, high=65535)
    workers: int = option(
        0,
        "server processes; 0: one per core that affinity, cgroup limits and memory allow",
        env="INKDIGITS_WORKERS",
        low=0,
        high=MAX_WORKERS,
    )
    model: str = option(
        "",
        "name of a shipped model, path of an .onnx file, or a folder, for its champion; empty: the default",
        env="INKDIGITS_MODEL",
    )
    profile: str = option(
        "", "path of the profile of inkdigits guarantee for the model; empty: none", env="INKDIGITS_PROFILE"
    )
    shadow: str = option(
        "",
        "model that also reads a share of the images, without answering: a name in the folder of models, a path, or "
        "challenger; empty: none",
        env="INKDIGITS_SHADOW",
    )
    shadow_share: float = option(
        0.1,
        "share of the images that the shadow also reads, or the previous model during the watch, such as 10%",
        env="INKDIGITS_SHADOW_SHARE",
        low=0,
        high=1,
    )
    canary: str = option(
        "", "model that answers a share of the requests, named as for shadow; empty: none", env="INKDIGITS_CANARY"
    )
    canary_share: float = option(
        0.05, "share of the requests that the canary answers, such as 5%", env="INKDIGITS_CANARY_SHARE", low=0, high=1
    )
    watch: int = option(
        0,
        "time after a promotion in which the new model is compared with the previous one, and rolled back if it is "
        "worse, such as 1h; 0: none",
        env="INKDIGITS_WATCH",
        unit="seconds",
        low=0,
        high=366 * DAY_SECONDS,
    )
    trial_rejected: float = option(
        0.05,
        "largest share of the images that a canary or a watched model may reject in addition to the other model",
        env="INKDIGITS_TRIAL_REJECTED",
        low=0,
        high=1,
    )
    trial_agreement: float = option(
        0.9,
        "smallest share of the images that both models must read the same",
        env="INKDIGITS_TRIAL_AGREEMENT",
        low=0,
        high=1,
    )
    trial_failures: float = option(
        0.01,
        "largest share of the images on which a canary or a watched model may fail",
        env="INKDIGITS_TRIAL_FAILURES",
        low=0,
        high=1,
    )
    threads: int = option(1, "threads per inference run", env="INKDIGITS_THREADS", low=1, high=256)
    ray_address: str = option(
        "",
        "Ray cluster for --engine ray, HOST:6379 or auto; empty: start one for the run",
        env="RAY_ADDRESS",
    )
    data: str = option("", "folder with data sets (mnist/…); empty: download to the cache", env="INKDIGITS_DATA")
    cache: str = option(_cache_folder(), "folder for downloaded data sets and prepared images", env="INKDIGITS_CACHE")
    runs: str = option("runs", "folder for the records of training runs", env="INKDIGITS_RUNS")
    max_bytes: int = option(
        20 * MEBIBYTE, "largest request body and largest image file", env="INKDIGITS_MAX_BYTES", unit="bytes", low=1024
    )
    max_pixels: int = option(
        4096 * 4096, "largest image, width × height", env="INKDIGITS_MAX_PIXELS", unit="pixels", low=784
    )
    max_files: int = option(100, "most images per request", env="INKDIGITS_MAX_FILES", low=1)
    cors_origins: str = option(
        "", "origins whose pages may call the server, comma-separated; *: any", env="INKDIGITS_CORS_ORIGINS"
    )
    max_connections: int = option(
        4096,
        "most open connections per process, fewer if ulimit -n is lower; more get 503",
        env="INKDIGITS_MAX_CONNECTIONS",
        low=1,
    )
    max_queue: int = option(
        512, "most small requests waiting per process; more get 503", env="INKDIGITS_MAX_QUEUE", low=1
    )
    max_heavy: int = option(
        16,
        "most requests with large images or numbers running or waiting per process; more get 503",
        env="INKDIGITS_MAX_HEAVY",
        low=1,
    )
    max_buffered: int = option(
        128 * MEBIBYTE,
        "most memory for large request bodies per process; more get 503",
        env="INKDIGITS_MAX_BUFFERED",
        unit="bytes",
        low=1024,
    )
    receive_seconds: int = option(
        60,
        "time limit for a client to send a request, and to take each part of a response; then 408",
        env="INKDIGITS_RECEIVE_SECONDS",
        unit="seconds",
        low=1,
        high=3600,
    )
    keep_alive_seconds: int = option(
        65,
        "time an idle connection stays open; set it above the idle timeout of a proxy in front",
        env="INKDIGITS_KEEP_ALIVE_SECONDS",
        unit="seconds",
        low=1,
        high=3600,
    )
    frozen_seconds: int = option(
        5,
        "time without a heartbeat before the supervisor restarts a worker",
        env="INKDIGITS_FROZEN_SECONDS",
        unit="seconds",
        low=1,
        high=3600,
    )
    api_keys: str = option(
        "",
        "SHA-256 hashes of the accepted API keys, in hex, comma-separated; empty: no key is needed",
        env="INKDIGITS_API_KEYS",
    )
    rate_limit: int = option(
        0, "most predictions per second per client, by key or address; 0: no limit", env="INKDIGITS_RATE_LIMIT", low=0
    )
    rate_burst: int = option(
        20, "predictions a client may request at once before the rate limit applies", env="INKDIGITS_RATE_BURST", low=1
    )
    proxies: int = option(
        0,
        "number of proxies in front; the client is that entry of X-Forwarded-For, counted from the end",
        env="INKDIGITS_PROXIES",
        low=0,
        high=16,
    )
    feedback: str = option(
        "",
        "database of corrections: a file such as feedback.db, or postgresql://…; empty: keep none; needs "
        "inkdigits[feedback]",
        env="INKDIGITS_FEEDBACK",
    )
    feedback_days: int = option(
        365,
        "time after which a picture and its corrections are removed; 0: never",
        env="INKDIGITS_FEEDBACK_DAYS",
        unit="days",
        low=0,
        high=36500,
    )
    feedback_audit: float = option(
        0.0,
        "share of the answers to clients that give feedback which are marked for the audit sample",
        env="INKDIGITS_FEEDBACK_AUDIT",
        low=0,
        high=1,
    )
    review_keys: str = option(
        "",
        "SHA-256 hashes of the keys of those who review corrections at /review, in hex, comma-separated; empty: no "
        "review; needs feedback",
        env="INKDIGITS_REVIEW_KEYS",
    )
    log_level: str = option("info", "lowest level that is logged", env="INKDIGITS_LOG_LEVEL", choices=LEVELS)
    log_format: str = option("text", "format of each log line", env="INKDIGITS_LOG_FORMAT", choices=("text", "json"))
    log_requests: str = option(
        "off", "log each request; log level debug does too", env="INKDIGITS_LOG_REQUESTS", choices=("off", "on")
    )
    tracing: str = option(
        "off",
        "send OpenTelemetry traces to OTEL_EXPORTER_OTLP_ENDPOINT; needs inkdigits[otel]",
        env="INKDIGITS_TRACING",
        choices=("off", "otlp"),
    )

    @property
    def data_folder(self) -> Path | None:
        """Return the folder named by ``data``, or None where data sets are to be downloaded."""
        return Path(self.data).expanduser() if self.data else None
