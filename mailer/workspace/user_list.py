"""A workspace's list of users, read page by page to its end, while users are added to it and removed.

Each page is asked for from the last user of the page before. If it begins with another, the list has moved, and the
place is found again by the users read last. The list is sorted by id, so everybody who is in it all the time is read
exactly once. A user added before the place is missed, and one removed after being read is kept: the next sync has both.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

from mailer.workspace.client import Page, Workspace

PAGE = 100  # users; Rocket.Chat's own limit, unless a workspace has changed it
REMEMBERED = PAGE  # ids read last: how many users may be added or removed between two pages


class PlaceLost(Exception):
    """The list has changed too much: the place in it cannot be found again."""


def key(user: object) -> str:
    """What identifies a user of the list: the id or, if there is none, a digest of everything about them."""
    user_id = user.get("_id") if isinstance(user, Mapping) else None
    return user_id if isinstance(user_id, str) else sha256(json.dumps(user, sort_keys=True).encode()).hexdigest()


class UserListReader:
    """Reads the list from the user after those whose keys are `known`, which are in its order; none: from the start."""

    def __init__(self, workspace: Workspace, known: Iterable[str] = ()) -> None:
        self._workspace = workspace
        self._recent: deque[str] = deque(maxlen=REMEMBERED)
        self.place = 0  # how many users are before the next one in the list as it is now
        self._size = 0  # users on the largest page so far: the workspace may give fewer than were asked for
        for one in known:
            self._pass(one)

    def pages(self) -> Iterator[Page]:
        """The users that have not been read yet, to the end of the list. Raises `PlaceLost`, `WorkspaceUnavailable`."""
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
        """The index in the page of the first user that has not been read yet; None: it cannot be told."""
        if not self._recent:
            return 0
        read = [index for index, user in enumerate(users) if key(user) in self._recent]
        return read[-1] + 1 if read else None

    def _pass(self, user_key: str) -> None:
        self._recent.append(user_key)
        self.place += 1
