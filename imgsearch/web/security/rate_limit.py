"""How often a client may ask."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.requests import Request

MAX_CLIENTS = 10_000  # remembered; those who asked longest ago are forgotten


@dataclass
class TokenBucket:
    """What a client has left, at a moment of `time.monotonic`."""

    tokens: float
    moment: float


class RateLimit:
    """So many requests a minute for each client, half of them at once."""

    def __init__(self, per_minute: int) -> None:
        self._per_s = per_minute / 60
        self._burst = max(per_minute / 2, 1.0)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Count one more request; 0 where it is one of those allowed, else the seconds until one will be."""
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
    """Who asks: the peer's address, or with `trust_proxy` the one that the proxy saw, which it puts last.

    Of an IPv6 address the network, as its 2^64 addresses belong to one client.
    """
    address = request.client.host if request.client else ""
    forwarded = request.headers.getlist("x-forwarded-for") if trust_proxy else []
    if forwarded:
        address = forwarded[-1].rpartition(",")[2].strip()[:64]
    try:
        parsed = ip_address(address.partition(":")[0] if address.count(":") == 1 else address)  # some write a port, too
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped:
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else parsed)
