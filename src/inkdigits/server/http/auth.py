"""Authentication by API keys, and a rate limit. Both are off by default."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import blake2b, sha256
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

from inkdigits.errors import SettingError
from inkdigits.server.http.problems import RATE_LIMITED, TOO_MANY_IMAGES, UNAUTHORIZED, Problem
from inkdigits.server.observability.metrics import Metrics
from inkdigits.server.processes.shared_state import BUCKETS, SLOT, SharedState
from inkdigits.settings import Settings

__all__ = ["Authenticator", "RateLimiter", "charge", "client_of", "headers_by_name", "key_hashes", "network_of"]

CHARGE = "inkdigits.charge"  # in a scope: a function that counts further predictions of the client

WAYS = 8  # buckets that a client's fingerprint can go to; if all are taken, the least recently used one is replaced
FAILURES = 20  # wrong or missing keys from one address before further ones have to wait
FAILURE_RATE = 1  # wrong or missing keys per second after that
NETWORK_BITS = 64  # of an IPv6 address: one client usually has the whole /64
FINGERPRINT_BYTES = 6  # fits exactly into a float64
_HASH = re.compile(r"[0-9a-f]{64}")


def key_hashes(text: str, name: str = "api_keys") -> list[bytes]:
    """Return the hashes in the setting ``api_keys``, or another one.

    Raises:
        SettingError: one of them is not a SHA-256 hash.
    """
    hashes = [part.strip().lower() for part in text.split(",") if part.strip()]
    for part in hashes:
        if not _HASH.fullmatch(part):
            raise SettingError(
                f"{name} (INKDIGITS_{name.upper()}) contains {part[:8]!r}…, {len(part)} characters, not a SHA-256 "
                "hash; expected 64 hex digits for each key, as printf %s KEY | sha256sum prints them"
            )
    return [bytes.fromhex(part) for part in hashes]


def headers_by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by name, with all X-Forwarded-For lines joined into one list (RFC 9110, section 5.3)."""
    found = dict(headers := list(headers))
    if b"x-forwarded-for" in found:
        found[b"x-forwarded-for"] = b",".join(value for name, value in headers if name == b"x-forwarded-for")
    return found


def client_of(scope: Scope, headers: Mapping[bytes, bytes], proxies: int) -> str:
    """Return the client's address: that of the connection, or the one reported by this many trusted proxies.

    A client can send any X-Forwarded-For, and each proxy appends the address that connected to it: only the last
    ``proxies`` entries can be trusted.
    """
    if proxies and (forwarded := headers.get(b"x-forwarded-for")):
        entries = forwarded.decode("latin-1").split(",")
        return entries[-min(proxies, len(entries))].strip()
    client = scope.get("client")
    return client[0] if client else ""


def network_of(address: str) -> bytes:
    """Return the part that all addresses of one client share: an IPv4 address, or the /64 prefix of an IPv6 one.

    Text that is not an address, such as a Unix socket's, is returned unchanged. A port added by a proxy is dropped.
    """
    text = address.partition("]")[0].lstrip("[") if address.startswith("[") else address
    if text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return address.encode()
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    return found.packed[: NETWORK_BITS // 8]


def charge(scope: Scope, count: int) -> None:
    """Count all predictions of a request; :meth:`Authenticator.admit` has counted the first.

    Raises:
        Problem: they exceed the client's rate limit now, or its burst.
    """
    if count > 1 and (rest := scope.get(CHARGE)):
        rest(count)


class RateLimiter:
    """Token buckets that all workers share: tokens are added at a rate, up to a burst.

    There are no locks: two workers that count one client at the same instant may count one token less. Memory is
    bounded: a new client takes the least recently used bucket.
    """

    def __init__(self, shared: SharedState) -> None:
        self._buckets = shared.buckets()
        self._secret = shared.secret

    def take(self, client: bytes, count: int, rate: float, burst: int, *, spend: bool = True) -> float:
        """Take tokens of a client, or only check for them; return 0, or the seconds until there are enough."""
        buckets = self._buckets
        now = time.monotonic()
        # Keyed with a secret, so that nobody can choose an address that shares another's bucket.
        mark = int.from_bytes(blake2b(client, digest_size=FINGERPRINT_BYTES, key=self._secret).digest())
        first = mark % (BUCKETS // WAYS) * WAYS * SLOT
        places = range(first, first + WAYS * SLOT, SLOT)
        place = next((p for p in places if buckets[p] == mark), None)
        if place is None:
            place = min(places, key=lambda p: buckets[p + 2])
            if not spend:
                return 0.0
            buckets[place] = mark
            tokens = float(burst)
        else:
            tokens = min(burst, buckets[place + 1] + (now - buckets[place + 2]) * rate)
        enough = tokens >= count
        buckets[place + 2] = now
        buckets[place + 1] = tokens - count if enough and spend else tokens
        return 0.0 if enough else (count - tokens) / rate


class Authenticator:
    """Admits requests for predictions, or raises a problem.

    A request takes one token from its client's bucket, and another for each further image that is found in it.
    Wrong keys are counted in separate buckets.

    Attributes:
        active: whether requests for predictions are checked.
        reviews: whether there are keys of reviewers.
    """

    def __init__(self, settings: Settings, shared: SharedState, metrics: Metrics) -> None:
        self._hashes = key_hashes(settings.api_keys)
        self._reviewers = key_hashes(settings.review_keys, "review_keys")
        self._rate = settings.rate_limit
        self._burst = settings.rate_burst
        self._proxies = settings.proxies
        self._limiter = RateLimiter(shared)
        self._metrics = metrics
        self.active = bool(self._hashes or self._rate)
        self.reviews = bool(self._reviewers)

    def admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Check one request, and note its client in the scope for :func:`charge`.

        Raises:
            Problem: the key is missing or wrong, or the client exceeds its rate limit.
        """
        address = network_of(client_of(scope, headers, self._proxies))
        client = self._check_key(headers, address, self._hashes) if self._hashes else address
        if self._rate:
            self._charge(client, 1)
            scope[CHARGE] = partial(self._charge, client, begun=1)

    def admit_reviewer(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Check one request of a reviewer, whose key is not an API key.

        Raises:
            Problem: the key is missing or wrong.
        """
        address = network_of(client_of(scope, headers, self._proxies))
        self._check_key(headers, address, self._reviewers, "review key")

    def _charge(self, client: bytes, count: int, begun: int = 0) -> None:
        """Count the predictions of a request: all that are not counted yet, or none.

        Args:
            begun: predictions that are counted already.

        Raises:
            Problem: they exceed the rate limit now, or the burst.
        """
        if count > self._burst:
            raise Problem(
                TOO_MANY_IMAGES,
                f"the request has {count:,} images; the rate limit allows {self._burst} at once: send fewer",
            )
        if wait := self._limiter.take(client, count - begun, self._rate, self._burst):
            # The next attempt is charged again for the predictions counted before.
            raise self._rate_limited(f"more than {self._rate} predictions per second", wait + begun / self._rate)

    def _rate_limited(self, what: str, wait: float) -> Problem:
        self._metrics.shed("rate")
        seconds = math.ceil(wait)
        return Problem(RATE_LIMITED, f"{what}; try again in {seconds} s", {"Retry-After": str(seconds)})

    def _check_key(
        self, headers: Mapping[bytes, bytes], address: bytes, hashes: list[bytes], name: str = "API key"
    ) -> bytes:
        """Return the hash of the request's key."""
        failures = b"failed" + address
        if wait := self._limiter.take(failures, 1, FAILURE_RATE, FAILURES, spend=False):
            raise self._rate_limited(f"more than {FAILURES} requests without a valid key", wait)
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            key = headers.get(b"x-api-key", b"")
        digest = sha256(key.strip()).digest()
        # All are compared, so that the time taken reveals nothing.
        if sum([compare_digest(digest, known) for known in hashes]):
            return digest
        self._limiter.take(failures, 1, FAILURE_RATE, FAILURES)
        seen = f"an unknown {name}" if key else f"no {name}"
        detail = f"the request has {seen}; send one as Authorization: Bearer KEY or X-API-Key: KEY"
        raise Problem(UNAUTHORIZED, detail, {"WWW-Authenticate": 'Bearer realm="inkdigits"'})
