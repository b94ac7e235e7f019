"""Limit how many requests per minute a client may make."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.requests import Request

MAX_CLIENTS = 10_000  # kept; beyond that the one whose last request is oldest is forgotten


@dataclass
class TokenBucket:
    """The requests that a client had left at `moment` (`time.monotonic`)."""

    tokens: float
    moment: float


class RateLimit:
    """A token bucket per client: `per_minute` requests a minute, at most half of them (but at least one) at once."""

    def __init__(self, per_minute: int) -> None:
        self._per_s = per_minute / 60
        self._burst = max(per_minute / 2, 1.0)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Count a request; return 0 if it is allowed, else the seconds until the next one will be."""
        now = time.monotonic()
        bucket = self._buckets.setdefault(client, TokenBucket(self._burst, now))
        self._buckets.move_to_end(client)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(bucket.tokens + (now - bucket.moment) * self._per_s, self._burst)
        bucket.moment = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._per_s
        bucket.tokens -= 1
        return 0.0


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
