from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from transports import About, Message, Outcome, Status, Transport, TransportConfigError, TransportUnavailable, from_url
from transports.failover import FailoverTransport, RoundRobinTransport
from transports.memory import MemoryStore, MemoryTransport


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Group:
    """A group over memory transports a, b and c whose clock stands still."""

    def __init__(self, kind: type[FailoverTransport] = FailoverTransport, names: str = "abc") -> None:
        self.stores = {name: MemoryStore() for name in names}
        self.clock = Clock()
        members = [(name, MemoryTransport(store)) for name, store in self.stores.items()]
        self.transport = kind(members, cooldown=30.0, clock=self.clock)

    def send(self, count: int = 1) -> list[Status]:
        return [outcome.status for outcome in self.transport.send(messages(count))]

    def arrived(self) -> dict[str, int]:
        return {name: store.arrived for name, store in self.stores.items()}


def messages(count: int) -> list[Message]:
    return [Message(f"m{number}", "list@example.org", "ann@example.org", b"x") for number in range(count)]


def test_first_member_takes_everything_while_it_works() -> None:
    group = Group()

    assert group.send(3) + group.send(2) == [Status.SENT] * 5
    assert group.arrived() == {"a": 5, "b": 0, "c": 0}


def test_next_member_takes_over_in_the_middle() -> None:
    group = Group()
    group.stores["a"].fail_after(2)
    group.stores["b"].fail_after(1)

    assert group.send(5) == [Status.SENT] * 5
    assert group.arrived() == {"a": 2, "b": 1, "c": 2}
    ids = [each.id for store in group.stores.values() for each in store.messages]
    assert ids == ["m0", "m1", "m2", "m3", "m4"]


@pytest.mark.parametrize("status", [Status.DEFERRED, Status.REFUSED, Status.UNCERTAIN])
def test_message_with_an_outcome_is_never_sent_again(status: Status) -> None:
    group = Group()
    group.stores["a"].answer(None, status)
    group.stores["a"].fail_after(1)

    assert group.send(2) == [status, Status.SENT]
    assert [each.id for each in group.stores["b"].messages] == ["m1"]


def test_failed_member_is_passed_over_until_its_cooldown_ends() -> None:
    group = Group()
    group.stores["a"].fail_after(0)
    group.send()
    group.stores["a"].recover()

    group.clock.now += 29.9
    group.send()
    assert group.arrived() == {"a": 0, "b": 2, "c": 0}
    group.clock.now += 0.2
    group.send()
    assert group.arrived() == {"a": 1, "b": 2, "c": 0}


def test_all_failed_raises_with_every_reason_and_tries_all_again_next_time() -> None:
    group = Group()
    for name, store in group.stores.items():
        store.fail_after(0, f"reason {name}")

    with pytest.raises(TransportUnavailable, match=r"a: memory: reason a; b: memory: reason b; c: memory: reason c"):
        group.send()
    group.stores["b"].recover()

    assert group.send() == [Status.SENT]
    assert group.arrived() == {"a": 0, "b": 1, "c": 0}


def test_members_that_fail_in_turn_are_used_as_long_as_there_is_progress() -> None:
    class OneAtATime(MemoryTransport):
        def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
            self.store.fail_after(1)
            yield from super().send(messages)

    stores = [MemoryStore(), MemoryStore()]
    transport = FailoverTransport([(str(number), OneAtATime(store)) for number, store in enumerate(stores)])

    assert len(list(transport.send(messages(6)))) == 6
    assert [store.arrived for store in stores] == [3, 3]


def test_drawn_ahead_by_the_failed_member_goes_to_the_next() -> None:
    class DrawsAhead(MemoryTransport):
        def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
            batch = [message for message, _ in zip(messages, range(3), strict=False)]
            yield self.store.take(batch[0])
            raise TransportUnavailable("broke")

    first, second = MemoryStore(), MemoryStore()
    transport = FailoverTransport([("a", DrawsAhead(first)), ("b", MemoryTransport(second))])

    outcomes = list(transport.send(iter(messages(5))))

    assert [outcome.id for outcome in outcomes] == ["m0", "m1", "m2", "m3", "m4"]
    assert [each.id for each in second.messages] == ["m1", "m2", "m3", "m4"]


def test_outcome_out_of_order_is_a_bug_and_not_hidden() -> None:
    class Wrong(MemoryTransport):
        def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
            for _message in messages:
                yield Outcome("other", Status.SENT)

    transport = FailoverTransport([("a", Wrong()), ("b", MemoryTransport())])

    with pytest.raises(ValueError, match="out of order"):
        list(transport.send(messages(1)))


def test_roundrobin_takes_turns_per_send() -> None:
    group = Group(RoundRobinTransport)

    for _ in range(4):
        group.send(2)

    assert group.arrived() == {"a": 4, "b": 2, "c": 2}


def test_roundrobin_passes_over_a_failed_member() -> None:
    group = Group(RoundRobinTransport)
    group.stores["b"].fail_after(0)

    for _ in range(6):
        assert group.send() == [Status.SENT]

    assert group.arrived() == {"a": 2, "b": 0, "c": 4}


@pytest.mark.parametrize("down", ["a", "ab", "bc"])
def test_check_passes_if_any_member_does(down: str) -> None:
    group = Group()
    for name in down:
        group.stores[name].fail_after(0)

    group.transport.check()


def test_check_raises_when_all_members_do() -> None:
    group = Group(names="ab")
    for store in group.stores.values():
        store.fail_after(0)

    with pytest.raises(TransportUnavailable, match=r"a: .*; b: "):
        group.transport.check()


def test_close_closes_every_member() -> None:
    closed: list[Transport] = []

    class Closes(MemoryTransport):
        def close(self) -> None:
            closed.append(self)

    members = [Closes(), Closes()]
    FailoverTransport([("a", members[0]), ("b", members[1])]).close()

    assert closed == members


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("failover:", "expected URLs in parentheses"),
        ("failover:memory:", "expected URLs in parentheses"),
        ("failover:()", "at least two"),
        ("roundrobin:(memory:)", "at least two"),
        ("failover:(memory: nonsense:)", "unknown transport scheme 'nonsense'"),
        ("failover:(memory: memory:?nonsense=1)", "unknown option 'nonsense'"),
        ("failover:(memory: memory:)?cooldown=never", "a duration"),
    ],
)
def test_url_is_refused(url: str, problem: str) -> None:
    with pytest.raises(TransportConfigError, match=problem):
        from_url(url)


def test_reasons_name_the_members_without_their_passwords() -> None:
    one = "webhook:http://ann:hunter2@127.0.0.1:9/hook"
    transport = from_url(f"failover:({one} {one})")

    with pytest.raises(TransportUnavailable) as caught:
        transport.check()

    assert "webhook:http://127.0.0.1:9/***: 127.0.0.1: Connection refused" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_limit_that_one_reached_leads_to_the_next() -> None:
    group = Group()
    group.stores["a"].fail_after(1, "quota used up", About.RATE)

    assert group.send(3) == [Status.SENT] * 3
    assert group.arrived() == {"a": 1, "b": 2, "c": 0}


def test_refused_sender_is_not_sent_by_another() -> None:
    group = Group()
    group.stores["a"].answer(None, Status.REFUSED, about=About.SENDER, reply="not yours")

    outcomes = list(group.transport.send(messages(1)))

    assert outcomes == [Outcome("m0", Status.REFUSED, "not yours", About.SENDER)]
    assert group.arrived() == {"a": 0, "b": 0, "c": 0}


@pytest.mark.parametrize(
    ("abouts", "about"),
    [
        ([About.RATE, About.RATE], About.RATE),
        ([About.RATE, About.TRANSPORT], About.TRANSPORT),
        ([About.TRANSPORT, About.TRANSPORT], About.TRANSPORT),
    ],
)
def test_group_is_at_its_limit_when_all_its_members_are(abouts: list[About], about: About) -> None:
    group = Group(names="ab")
    for store, each in zip(group.stores.values(), abouts, strict=True):
        store.fail_after(0, "no", each)

    for attempt in (lambda: group.send(1), group.transport.check):
        with pytest.raises(TransportUnavailable) as caught:
            attempt()
        assert caught.value.about is about
