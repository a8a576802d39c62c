"""Settings of the server, as values that are checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from subbyte.runtime.types import Activations, CacheType


@dataclass(frozen=True)
class ServerSettings:
    """Where the server listens, whom it answers, and how much it takes on.

    host, port: of the socket; port 0 is any that is free. api_keys: one of which every request must bring; none: no key
    is asked for. hosts: names besides its own that a request's Host may have. origins: of pages elsewhere that may ask,
    as `https://example.org`; "*" is all of them. open: listening beyond this machine without a key is meant.

    n_parallel, n_waiting, n_ctx, cache_type, activations (None: the model's own): as for `Model.scheduler`, of each
    model. max_bytes: of all models, with their conversations; None: the memory that is free.

    timeout: seconds that an answer may take. max_body: bytes of a request. body_seconds: that its arrival may take,
    and its headers'. write_seconds: that a client may take to read a piece. tick_seconds: between signs of life in a
    stream.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    api_keys: Sequence[str] = ()
    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    open: bool = False
    n_parallel: int = 8
    n_waiting: int = 64
    n_ctx: int | None = None
    cache_type: CacheType = "f16"
    activations: Activations | None = None
    max_bytes: int | None = None
    timeout: float = 1800.0
    max_body: int = 16 << 20
    body_seconds: float = 30.0
    write_seconds: float = 60.0
    tick_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not self.is_local and not self.api_keys and not self.open:
            raise ValueError(
                f"host {self.host} is reached from other machines, and there is no API key: anybody there could use "
                "the server; give a key, or say that this is meant"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine, to itself."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
