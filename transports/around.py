"""A transport around another: it does something of its own with what passes, and carries nothing by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from typing_extensions import override

from transports.base import Transport
from transports.rate import Rate, Rated, rates_of


class TransportAround(Transport, Rated):
    """All but `send` is what `inner` does. A subclass sends through `self._inner`, whose limits are its own.

    No URL names it: whoever puts the parts of a service together puts it around the transport that a URL has named.
    """

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    @classmethod
    @override
    def from_url(cls, url: str) -> Self:
        raise NotImplementedError("it is made around another transport")

    @override
    def check(self) -> None:
        self._inner.check()

    @override
    def rates(self) -> Sequence[Rate]:
        return rates_of(self._inner)

    @override
    def close(self) -> None:
        self._inner.close()
