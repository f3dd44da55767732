"""Bad weather between servers and their store: of all requests a share meets something, each kind its own."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from tests.support.s3_proxy import (
    Deed,
    Request,
    answer,
    cut_short,
    error_in_200,
    flip_sent,
    flipped,
    lose_answer,
    lose_request,
    stored_as,
)

_ANY: Mapping[str, Deed] = MappingProxyType(
    {
        "500": answer(500, "InternalError"),
        "503": answer(503, "ServiceUnavailable"),
        "slow down": answer(503, "SlowDown"),
        "request lost": lose_request,
        "answer lost": lose_answer,
    }
)
_OF_KIND: Mapping[str, Mapping[str, Deed]] = MappingProxyType(
    {
        "get": {"answer cut": cut_short},
        "put": {"bit flipped on the way": flip_sent},
        "part": {
            "bit flipped on the way": flip_sent,
            "bit flipped by the store": stored_as(flipped),
        },
        "copy": {"200 with an error": error_in_200("InternalError")},
        "complete": {
            "200 with an error": error_in_200("InternalError"),
            "not known": answer(404, "NoSuchUpload"),
            "answer to Complete lost": lose_answer,
        },
    }
)
"""What each kind meets as often as all of the others together."""


class Weather:
    """What befalls requests, and how often it was what."""

    def __init__(self, share: float, seed: int) -> None:
        self.had: Counter[str] = Counter()
        self.asked = 0
        self._share = share
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Deed | None:
        with self._lock:
            self.asked += 1
            if self._random.random() >= self._share:
                return None
            own = _OF_KIND.get(request.kind)
            chosen = own if own and self._random.random() < 0.5 else _ANY
            name = self._random.choice(sorted(chosen))
            self.had[name] += 1
            return chosen[name]

    def clears(self) -> None:
        """Let everything through from here on."""
        self._share = 0.0
