"""The list of a workspace that changes while it is read, over real HTTP."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from mailer.workspace.client import Workspace
from mailer.workspace.user_list import PlaceLost, UserListReader
from tests.fake_workspace import FakeWorkspace, member

pytestmark = pytest.mark.slow

NAMES = [f"user{number:03d}" for number in range(0, 100, 5)]


@pytest.fixture
def fake() -> Iterator[FakeWorkspace]:
    """Twenty users, of whom a page shows four."""
    with FakeWorkspace(*map(member, NAMES), cap=4) as workspace:
        yield workspace


def read(fake: FakeWorkspace, known: Sequence[str] = ()) -> list[str]:
    workspace = Workspace(fake.url, "admin", "secret")
    try:
        return [user["_id"] for page in UserListReader(workspace, known).pages() for user in page.users]
    finally:
        workspace.close()


def add(fake: FakeWorkspace, *numbers: int) -> None:
    fake.users |= {name: member(name) for name in (f"user{number:03d}" for number in numbers)}


def remove(fake: FakeWorkspace, *numbers: int) -> None:
    for number in numbers:
        del fake.users[f"user{number:03d}"]


CHANGES = {
    "one added before": ([1], []),
    "more than a page added before": ([1, 2, 3, 4, 6, 7], []),
    "one added behind": ([96], []),
    "one removed before": ([], [5]),
    "three removed before": ([], [0, 5, 10]),
    "last one read removed": ([], [30]),
    "last four read removed": ([], [15, 20, 25, 30]),
    "one added, one removed": ([1], [5]),
    "one removed behind": ([], [90]),
}


@pytest.mark.parametrize(("added", "removed"), CHANGES.values(), ids=CHANGES)
def test_place_is_found_again(fake: FakeWorkspace, added: list[int], removed: list[int]) -> None:
    def before(number: int) -> None:
        if number == 3:  # seven users are read: user000 to user030
            add(fake, *added)
            remove(fake, *removed)

    fake.before = before
    behind = [name for name in NAMES if int(name[-3:]) > 30 and int(name[-3:]) not in removed]
    late = [f"user{number:03d}" for number in added if number > 30]
    assert read(fake) == NAMES[:7] + sorted(behind + late)
    assert fake.offsets.count(0) == 1


@pytest.mark.parametrize("seed", range(12))
def test_who_is_there_all_the_time_is_read_once(fake: FakeWorkspace, seed: int) -> None:
    chance = random.Random(seed)
    removed: set[str] = set()
    ever = set(NAMES)

    def before(_number: int) -> None:
        for name in chance.sample(sorted(fake.users), chance.randint(0, 1)):
            removed.add(name)
            del fake.users[name]
        add(fake, *(chance.randrange(100) for _ in range(chance.randint(0, 1))))
        ever.update(fake.users)

    fake.before = before
    found = read(fake)
    assert len(found) == len(set(found))
    assert set(NAMES) - removed <= set(found) <= ever


def test_reading_goes_on_where_it_was_though_the_list_moved(fake: FakeWorkspace) -> None:
    add(fake, 1, 2)
    assert read(fake, NAMES[:10]) == NAMES[10:]
    remove(fake, 1, 2, 5)
    assert read(fake, NAMES[:10]) == NAMES[10:]
    assert 0 not in fake.offsets


def test_place_in_another_list_is_lost(fake: FakeWorkspace) -> None:
    with pytest.raises(PlaceLost):
        read(fake, [f"zed{number}" for number in range(10)])


@pytest.mark.parametrize("total", [21, 18])
def test_total_that_is_never_reached_ends(fake: FakeWorkspace, total: int) -> None:
    page = fake.page
    fake.page = lambda query: {**page(query), "total": total}  # type: ignore[method-assign]
    with pytest.raises(PlaceLost):
        read(fake)


def test_list_that_always_moves_on_ends(fake: FakeWorkspace) -> None:
    users = [member("ann"), member("bob")]

    def before(number: int) -> tuple[int, dict[str, object], dict[str, str]]:
        shift = [{"_id": f"new{number}-{n}"} for n in range(0 if number == 1 else 2)]
        return 200, {"users": [*shift, *users][:4], "total": 10**9, "success": True}, {}

    fake.before = before
    with pytest.raises(PlaceLost):
        read(fake)
