"""Who may ask for predictions, and how often: API keys and a rate limit, both off by default."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from hashlib import blake2b, sha256
from hmac import compare_digest

from starlette.types import Scope

from inkdigits.errors import SettingError
from inkdigits.server.board import BUCKETS, SLOT, Board
from inkdigits.server.metrics import Metrics
from inkdigits.server.problems import RATE_LIMITED, UNAUTHORIZED, Problem
from inkdigits.settings import Settings

__all__ = ["Guard", "client_of", "key_hashes"]

WAYS = 8  # buckets that a client may have; when all are taken, the one least lately used is
FINGERPRINT_BYTES = 6  # as many as a float64 holds exactly
_HASH = re.compile(r"[0-9a-f]{64}")


def key_hashes(text: str) -> list[bytes]:
    """The setting ``api_keys``, as digests.

    Raises:
        SettingError: one of them is no SHA-256 hash.
    """
    hashes = [part.strip().lower() for part in text.split(",") if part.strip()]
    for part in hashes:
        if not _HASH.fullmatch(part):
            raise SettingError(
                f"api_keys (INKDIGITS_API_KEYS) names {part[:8]!r}…, {len(part)} characters that are no SHA-256 hash; "
                "expected 64 hex digits of each key, as printf %s KEY | sha256sum gives them"
            )
    return [bytes.fromhex(part) for part in hashes]


def client_of(scope: Scope, headers: Mapping[bytes, bytes], proxies: int) -> str:
    """The client's address: that of the connection, or the one that so many trusted proxies in front name.

    A client can write anything into X-Forwarded-For, and each proxy adds the address it was asked from at the end: only
    the last ``proxies`` entries are to be believed.
    """
    if proxies and (forwarded := headers.get(b"x-forwarded-for")):
        entries = forwarded.decode("latin-1").split(",")
        return entries[-min(proxies, len(entries))].strip()
    client = scope.get("client")
    return client[0] if client else ""


class Guard:
    """Lets a request for a prediction in, or raises.

    The rate is counted in buckets that all workers share: tokens come in at the rate, up to the burst, and each request
    takes one. Two workers that count one client at the same instant may lose a token's worth; there are no locks.
    """

    def __init__(self, settings: Settings, board: Board, metrics: Metrics) -> None:
        self._hashes = key_hashes(settings.api_keys)
        self._rate = settings.rate_limit
        self._burst = settings.rate_burst
        self._proxies = settings.proxies
        self._buckets = board.buckets()
        self._secret = board.secret
        self._metrics = metrics
        self.active = bool(self._hashes or self._rate)

    def admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Check one request.

        Raises:
            Problem: its key is missing or wrong, or its client asks too often.
        """
        key = self._key(headers) if self._hashes else b""
        if self._rate:
            client = key or client_of(scope, headers, self._proxies).encode()
            if wait := self._take(client, time.monotonic()):
                self._metrics.shed("rate")
                seconds = math.ceil(wait)
                detail = f"more than {self._rate} predictions a second; ask again in {seconds} s"
                raise Problem(RATE_LIMITED, detail, {"Retry-After": str(seconds)})

    def _key(self, headers: Mapping[bytes, bytes]) -> bytes:
        """The hash of the request's key."""
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            key = headers.get(b"x-api-key", b"")
        digest = sha256(key.strip()).digest()
        # All are compared, so that the time taken tells nothing.
        if sum([compare_digest(digest, known) for known in self._hashes]):
            return digest
        seen = "an API key that is not known" if key else "no API key"
        detail = f"the request has {seen}; send one as Authorization: Bearer KEY or X-API-Key: KEY"
        raise Problem(UNAUTHORIZED, detail, {"WWW-Authenticate": 'Bearer realm="inkdigits"'})

    def _take(self, client: bytes, now: float) -> float:
        """Take a token of this client; 0, or the seconds until there is one."""
        buckets = self._buckets
        # With a secret, so that nobody can choose an address that shares another's bucket.
        mark = int.from_bytes(blake2b(client, digest_size=FINGERPRINT_BYTES, key=self._secret).digest())
        first = mark % (BUCKETS // WAYS) * WAYS * SLOT
        places = range(first, first + WAYS * SLOT, SLOT)
        place = next((p for p in places if buckets[p] == mark), None)
        if place is None:
            place = min(places, key=lambda p: buckets[p + 2])
            buckets[place] = mark
            tokens = float(self._burst)
        else:
            tokens = min(self._burst, buckets[place + 1] + (now - buckets[place + 2]) * self._rate)
        buckets[place + 2] = now
        buckets[place + 1] = tokens - 1 if tokens >= 1 else tokens
        return 0.0 if tokens >= 1 else (1 - tokens) / self._rate
