"""Who may ask for predictions, and how many: API keys and a rate limit, both off by default."""

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
from inkdigits.server.processes.shared_state import BUCKETS, SLOT, Board
from inkdigits.settings import Settings

__all__ = ["Authenticator", "RateLimiter", "charge", "client_of", "joined", "key_hashes", "network_of"]

CHARGE = "inkdigits.charge"  # in a scope: counts further predictions of its client

WAYS = 8  # buckets that a client may have; when all are taken, the one least lately used is
FAILURES = 20  # wrong or missing keys of one address before further ones wait
FAILURE_RATE = 1  # wrong or missing keys a second that it may go on with
NETWORK_BITS = 64  # of an IPv6 address, which one client has all of
FINGERPRINT_BYTES = 6  # as many as a float64 holds exactly
_HASH = re.compile(r"[0-9a-f]{64}")


def key_hashes(text: str) -> list[bytes]:
    """Return the setting ``api_keys`` as digests.

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


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by name; X-Forwarded-For in several lines is one list (RFC 9110, section 5.3)."""
    found = dict(headers := list(headers))
    if b"x-forwarded-for" in found:
        found[b"x-forwarded-for"] = b",".join(value for name, value in headers if name == b"x-forwarded-for")
    return found


def client_of(scope: Scope, headers: Mapping[bytes, bytes], proxies: int) -> str:
    """Return the client's address: that of the connection, or the one that so many trusted proxies in front name.

    A client can write anything into X-Forwarded-For, and each proxy adds the address it was asked from at the end: only
    the last ``proxies`` entries are to be believed.
    """
    if proxies and (forwarded := headers.get(b"x-forwarded-for")):
        entries = forwarded.decode("latin-1").split(",")
        return entries[-min(proxies, len(entries))].strip()
    client = scope.get("client")
    return client[0] if client else ""


def network_of(address: str) -> bytes:
    """Return what all addresses of one client have in common: an IPv4 address, or the first half of an IPv6 one.

    What is no address stays as it is, as a Unix socket's; a port that a proxy wrote behind it is not the client's.
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
    """Count all predictions of a request, of which :meth:`Authenticator.admit` counted one.

    Raises:
        Problem: its client may not ask for as many, now or at any time.
    """
    if count > 1 and (rest := scope.get(CHARGE)):
        rest(count)


class RateLimiter:
    """Token buckets that all workers share: tokens come in at a rate, up to a burst.

    Two workers that count one client at the same instant may lose a token's worth; there are no locks. Memory is
    bounded: a new client takes the bucket of one that has not asked for longest.
    """

    def __init__(self, board: Board) -> None:
        self._buckets = board.buckets()
        self._secret = board.secret

    def take(self, client: bytes, count: int, rate: float, burst: int, *, spend: bool = True) -> float:
        """Take tokens of this client, or only look for them; 0, or the seconds until there are as many."""
        buckets = self._buckets
        now = time.monotonic()
        # With a secret, so that nobody can choose an address that shares another's bucket.
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
    """Admits requests for predictions, or raises.

    A request takes one token of its client's bucket, and another for each further image that turns out to be in it.
    Wrong keys have buckets of their own.
    """

    def __init__(self, settings: Settings, board: Board, metrics: Metrics) -> None:
        self._hashes = key_hashes(settings.api_keys)
        self._rate = settings.rate_limit
        self._burst = settings.rate_burst
        self._proxies = settings.proxies
        self._limiter = RateLimiter(board)
        self._metrics = metrics
        self.active = bool(self._hashes or self._rate)

    def admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Check one request; :func:`charge` then knows whose it is.

        Raises:
            Problem: its key is missing or wrong, or its client asks too often.
        """
        address = network_of(client_of(scope, headers, self._proxies))
        client = self._check_key(headers, address) if self._hashes else address
        if self._rate:
            self._charge(client, 1)
            scope[CHARGE] = partial(self._charge, client, begun=1)

    def _charge(self, client: bytes, count: int, begun: int = 0) -> None:
        """Count the predictions of a request: all that are not counted yet, or none.

        Args:
            begun: those that are.

        Raises:
            Problem: they are too many now, or at any time.
        """
        if count > self._burst:
            raise Problem(
                TOO_MANY_IMAGES,
                f"the request holds {count:,} images; the rate limit lets through {self._burst} at once: send fewer",
            )
        if wait := self._limiter.take(client, count - begun, self._rate, self._burst):
            # The next attempt pays again for what was counted already.
            raise self._too_often(f"more than {self._rate} predictions a second", wait + begun / self._rate)

    def _too_often(self, what: str, wait: float) -> Problem:
        self._metrics.shed("rate")
        seconds = math.ceil(wait)
        return Problem(RATE_LIMITED, f"{what}; ask again in {seconds} s", {"Retry-After": str(seconds)})

    def _check_key(self, headers: Mapping[bytes, bytes], address: bytes) -> bytes:
        """Return the hash of the request's key."""
        failures = b"failed" + address
        if wait := self._limiter.take(failures, 1, FAILURE_RATE, FAILURES, spend=False):
            raise self._too_often(f"more than {FAILURES} requests without a key that is known", wait)
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            key = headers.get(b"x-api-key", b"")
        digest = sha256(key.strip()).digest()
        # All are compared, so that the time taken tells nothing.
        if sum([compare_digest(digest, known) for known in self._hashes]):
            return digest
        self._limiter.take(failures, 1, FAILURE_RATE, FAILURES)
        seen = "an API key that is not known" if key else "no API key"
        detail = f"the request has {seen}; send one as Authorization: Bearer KEY or X-API-Key: KEY"
        raise Problem(UNAUTHORIZED, detail, {"WWW-Authenticate": 'Bearer realm="inkdigits"'})
