"""A workspace's list of users, read page by page to its end, while users are added to it and removed.

Each page begins with the last user of the page before. Where it does not, the list has moved: the place is found again
by the users read last. Users are listed by id, so whoever is there all the time is read, once; who is added before the
place meanwhile is missed, and who is removed before it was read already. The next reading has both right.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

from mailer.workspace.client import Page, Workspace

PAGE = 100  # Rocket.Chat's own limit, unless it was changed
REMEMBERED = PAGE  # ids read last; so many users may be added or removed between two pages


class PlaceLost(Exception):
    """The place in the list cannot be found again: too much has changed."""


def key(user: object) -> str:
    """What a user is known by in the list: the id, or all of them where there is none."""
    user_id = user.get("_id") if isinstance(user, Mapping) else None
    return user_id if isinstance(user_id, str) else sha256(json.dumps(user, sort_keys=True).encode()).hexdigest()


class UserListReader:
    """Goes on after the users whose keys are `known`, in the order of the list; none: from the beginning."""

    def __init__(self, workspace: Workspace, known: Iterable[str] = ()) -> None:
        self._workspace = workspace
        self._recent: deque[str] = deque(maxlen=REMEMBERED)
        self.place = 0  # how many users of the list, as it is now, stand before the next one
        self._size = 0  # of the workspace's pages, which it may cap
        for one in known:
            self._pass(one)

    def pages(self) -> Iterator[Page]:
        """The users not read yet, up to the end of the list. Raises `PlaceLost`, `WorkspaceUnavailable`."""
        fruitless = 0
        while True:
            before = self.place
            page = self._next()
            yield page
            if self.place == page.total:
                return
            fruitless = 0 if page.users else fruitless + 1
            if self.place > page.total or fruitless > REMEMBERED or (fruitless and self.place == before):
                raise PlaceLost

    def _next(self) -> Page:
        start = max(0, self.place - 1)
        page = self._get(start)
        after = self._after(page.users)
        if after is None and start:  # users before it were removed
            start = max(0, start - (self._size or PAGE))
            page = self._get(start)
            after = self._after(page.users)
        if after is None:
            raise PlaceLost
        self.place = start + after
        fresh = page.users[after:]
        for user in fresh:
            self._pass(key(user))
        return Page(fresh, page.total)

    def _get(self, start: int) -> Page:
        page = self._workspace.users(start, PAGE)
        self._size = max(self._size, len(page.users))
        return page

    def _after(self, users: Sequence[object]) -> int | None:
        """Where in the page the users begin that are not read yet; None: it cannot be told."""
        if not self._recent:
            return 0
        read = [index for index, user in enumerate(users) if key(user) in self._recent]
        return read[-1] + 1 if read else None

    def _pass(self, user_key: str) -> None:
        self._recent.append(user_key)
        self.place += 1
