"""What the lines of a thread are about: the request, campaign and batch in hand. Bound where the work begins."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial

_IDS = "_mailer_bound"  # the attribute of an error that has what was bound where it came from
# Long enough for a UUID and for nginx's $request_id, too short for a token that somebody sent by mistake.
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,35}")


@contextmanager
def bound(**ids: str | int) -> Iterator[None]:
    """Have every line that this thread logs inside the block carry these ids, such as `campaign` and `batch`.

    An error that leaves the block takes them along, for whoever logs it outside: see `bound_as`.
    """
    from structlog.contextvars import bound_contextvars  # noqa: PLC0415 - slow to import, and commands need none

    with bound_contextvars(**ids):
        try:
            yield
        except Exception as error:
            with suppress(AttributeError):  # a third party's class may have no room
                setattr(error, _IDS, {**ids, **getattr(error, _IDS, {})})
            raise


def bound_as(error: BaseException) -> AbstractContextManager[None]:
    """The same with the ids of the block that `error` has left, if it has left any."""
    return bound(**getattr(error, _IDS, {}))


def bind(**ids: str | int) -> Callable[[], None]:
    """Do as `bound` does until the function that is returned is called, in the same thread.

    For work whose end somebody else tells. If nobody ever does, nothing happens, where a block that is left open would
    end when the garbage collector comes to it: perhaps while a context variable is being set, which then loses what was
    set or crashes the interpreter.
    """
    from structlog.contextvars import bind_contextvars, reset_contextvars  # noqa: PLC0415 - as above

    return partial(reset_contextvars, **bind_contextvars(**ids))


def request_id(given: str) -> str:
    """Return the id of a request: the `given` one if it is sane, otherwise a new one.

    Sane are up to 36 letters, digits, `-` and `_`, the first of them a letter or digit.
    """
    return given if _SANE.fullmatch(given) else secrets.token_hex(8)
