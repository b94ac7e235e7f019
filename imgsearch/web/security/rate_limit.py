"""Limit how many requests per minute a client may make, and how much it may hold of what belongs to all."""

import time
from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import Request

from imgsearch.web.security.refusals import RefusedError

RETRY_S = 10  # seconds after which a client may have given something back


class RateLimit:
    """At most `per_minute` requests a minute of each client, and at most half of them (but at least one) at once."""

    def __init__(self, per_minute: int) -> None:
        burst = max(per_minute // 2, 1)
        self._limit = RateLimitItemPerSecond(burst, ceil(60 * burst / per_minute))
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())  # it forgets a client after two windows

    def wait_s(self, client: str) -> int:
        """Count a request; return 0 if it is allowed, else the seconds until the next one will be."""
        if self._limiter.hit(self._limit, client):
            return 0
        return max(ceil(self._limiter.get_window_stats(self._limit, client).reset_time - time.time()), 1)


class Share:
    """At most `most` of something that each client holds for a while: open streams, bytes on their way."""

    def __init__(self, most: float) -> None:
        self._most, self._held = most, Counter[str]()

    def take(self, client: str, amount: int) -> None:
        """Count what a client takes. Raise RefusedError if that is more than its share."""
        if self._held[client] + amount > self._most:
            raise RefusedError(429, "too_many", str(RETRY_S), outcome="rate", wait_s=RETRY_S)
        self._held[client] += amount

    def give_back(self, client: str, amount: int) -> None:
        """Count what a client gives back."""
        self._held[client] -= amount
        if not self._held[client]:
            del self._held[client]


def client_of(request: Request, *, trust_proxy: bool) -> str:
    """Return the client's address: the peer's, or with `trust_proxy` the one the proxy saw (the last in its header).

    For IPv6 return the /64 network, because its 2^64 addresses belong to one client.
    """
    address = request.client.host if request.client else ""
    forwarded = request.headers.getlist("x-forwarded-for") if trust_proxy else []
    if forwarded:
        address = forwarded[-1].rpartition(",")[2].strip()[:64]
    try:
        parsed = ip_address(address.partition(":")[0] if address.count(":") == 1 else address)  # may have a port
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped:
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else parsed)
