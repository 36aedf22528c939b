from __future__ import annotations

import threading
import uuid

import pytest

from transports import About, Message, Outcome, Status, TransportConfigError, TransportUnavailable, from_url
from transports.memory import Gate, MemoryStore, MemoryTransport, named_store

ANN, BOB = "ann@example.org", "bob@example.org"


def message(number: int, recipient: str = ANN) -> Message:
    return Message(f"m{number}", "list@example.org", recipient, b"x")


def statuses(transport: MemoryTransport, *messages: Message) -> list[Status]:
    return [outcome.status for outcome in transport.send(messages)]


def test_answers_for_a_recipient_come_in_turn_then_sent_again() -> None:
    transport = MemoryTransport()
    transport.store.answer(BOB, Status.DEFERRED, Status.REFUSED)

    found = statuses(transport, message(1, BOB), message(2), message(3, BOB), message(4, BOB))

    assert found == [Status.DEFERRED, Status.SENT, Status.REFUSED, Status.SENT]
    assert [each.id for each in transport.store.messages] == ["m2", "m4"]


def test_answers_for_anyone_give_way_to_a_recipients_own() -> None:
    transport = MemoryTransport()
    transport.store.answer(None, Status.REFUSED, Status.DEFERRED)
    transport.store.answer(ANN, Status.UNCERTAIN)

    assert statuses(transport, *map(message, range(4))) == [
        Status.UNCERTAIN,
        Status.REFUSED,
        Status.DEFERRED,
        Status.SENT,
    ]


def test_uncertain_message_arrived() -> None:
    store = MemoryStore()
    store.answer(None, Status.UNCERTAIN)

    assert store.take(message(1)) == Outcome("m1", Status.UNCERTAIN, "memory: uncertain", About.TRANSPORT)
    assert store.messages == (message(1),)


def test_answers_are_about_whom_they_are_told_to_be() -> None:
    store = MemoryStore()
    store.answer(None, Status.REFUSED, Status.DEFERRED, about=About.SENDER, reply="not you")
    store.answer(None, Status.REFUSED)

    assert [store.take(message(n)) for n in range(3)] == [
        Outcome("m0", Status.REFUSED, "not you", About.SENDER),
        Outcome("m1", Status.DEFERRED, "not you", About.SENDER),
        Outcome("m2", Status.REFUSED, "memory: refused", About.MESSAGE),
    ]


@pytest.mark.parametrize("about", [About.TRANSPORT, About.RATE])
def test_failure_is_about_what_it_is_told_to_be(about: About) -> None:
    transport = MemoryTransport()
    transport.store.fail_after(0, "enough", about)

    with pytest.raises(TransportUnavailable, match="enough") as caught:
        transport.check()

    assert caught.value.about is about


def test_fail_after_takes_that_many_more() -> None:
    transport = MemoryTransport()
    transport.store.fail_after(2, "disk on fire")
    outcomes = transport.send(map(message, range(5)))

    assert [next(outcomes).id, next(outcomes).id] == ["m0", "m1"]
    with pytest.raises(TransportUnavailable, match="disk on fire"):
        next(outcomes)
    transport.store.recover()
    assert statuses(transport, message(9)) == [Status.SENT]
    assert transport.store.arrived == 3


def test_gate_holds_until_opened() -> None:
    transport = MemoryTransport()
    gate = transport.store.hold()
    results: list[Status] = []
    thread = threading.Thread(target=lambda: results.extend(statuses(transport, message(1), message(2))))
    thread.start()

    assert gate.wait_reached()
    assert results == []
    assert transport.store.arrived == 0
    gate.open()
    thread.join(10)
    assert results == [Status.SENT, Status.SENT]


def test_gate_that_is_never_opened_gives_up() -> None:
    gate = Gate()

    assert not gate.wait_reached(0.001)
    with pytest.raises(TransportUnavailable, match="not opened within"):
        gate.pass_through(0.001)


def test_name_is_shared_and_no_name_is_not() -> None:
    name = uuid.uuid4().hex
    list(from_url(f"memory:{name}").send([message(1)]))

    assert from_url(f"memory:{name}").store is named_store(name)  # type: ignore[attr-defined]
    assert named_store(name).messages == (message(1),)
    assert from_url("memory:").store is not from_url("memory:").store  # type: ignore[attr-defined]


@pytest.mark.parametrize(("query", "kept"), [("", 5), ("?keep=2", 2), ("?keep=0", 0)])
def test_keep_bounds_what_is_kept_not_what_is_counted(query: str, kept: int) -> None:
    name = uuid.uuid4().hex
    list(from_url(f"memory:{name}{query}").send(map(message, range(5))))

    assert len(named_store(name).messages) == kept
    assert named_store(name).arrived == 5


def test_clear_forgets_everything() -> None:
    store = MemoryStore()
    store.take(message(1))
    store.answer(None, Status.REFUSED)
    store.fail_after(0)
    store.hold()

    store.clear()

    assert (store.messages, store.arrived) == ((), 0)
    assert store.take(message(2)).status is Status.SENT


def test_keep_must_be_a_number() -> None:
    with pytest.raises(TransportConfigError, match="keep"):
        from_url("memory:?keep=all")
