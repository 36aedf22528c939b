"""What is said of networks and databases that fail names no class of Python's."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.database_errors import in_public, own_words
from transports.network_errors import in_words, never_arrived

CLASS = re.compile(r"\b[A-Z]\w+(Error|Exception|Timeout|Pool|Required|Disconnected)\b|object at 0x|urllib3")


@contextmanager
def peer(*, answers: bytes = b"") -> Iterator[str]:
    """An address where each connection gets `answers` and is then closed, or is never looked at if it is empty."""
    with socket.create_server(("127.0.0.1", 0), backlog=5) as server:
        if answers:

            def answer() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answers)

            threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def failure(url: str) -> requests.RequestException:
    with pytest.raises(requests.RequestException) as caught:
        requests.get(url, timeout=1)
    return caught.value


def test_refused_connection_is_called_so() -> None:
    error = failure("http://127.0.0.1:1")
    assert (in_words(error), never_arrived(error)) == ("Connection refused", True)


def test_unknown_host_is_called_so() -> None:
    error = failure("http://nobody.invalid")
    assert (in_words(error), never_arrived(error)) == ("there is no such host", True)


def test_silent_peer_takes_too_long_and_may_have_read_it() -> None:
    with peer() as address:
        error = failure(f"http://{address}")
    assert (in_words(error), never_arrived(error)) == ("it takes too long to answer", False)


def test_peer_without_tls_is_called_so() -> None:
    with peer(answers=b"HTTP/1.1 400 No\r\n\r\n") as address:
        error = failure(f"https://{address}")
    assert in_words(error).startswith("TLS failed: ")
    assert never_arrived(error)


def test_answer_that_breaks_off_is_called_so() -> None:
    with peer(answers=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab") as address:
        error = failure(f"http://{address}")
    assert in_words(error) == "the connection broke off"
    assert not never_arrived(error)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nobody.invalid", "http://[", "http://"])
def test_no_class_is_named(url: str) -> None:
    assert not CLASS.search(in_words(failure(url)))


def test_database_that_refuses_says_why_without_the_statement(db: Database) -> None:
    with pytest.raises(SQLAlchemyError) as caught, db.read() as connection:
        connection.execute(text("SELECT :secret FROM nothing"), {"secret": "ann@example.com"})
    assert "nothing" in own_words(caught.value)
    assert not CLASS.search(own_words(caught.value) + in_public(caught.value))
    assert "ann@example.com" not in own_words(caught.value)
    assert "nothing" not in in_public(caught.value)


@pytest.mark.parametrize("url", ["sqlite:////proc/mailer.db", "postgresql://ann:hunter2@127.0.0.1:1/x"])
def test_database_that_is_not_there_is_told_in_public_without_its_place(url: str) -> None:
    database = database_at(url)
    with pytest.raises(SQLAlchemyError) as caught, database.read():
        pass
    database.close()
    assert in_public(caught.value) == "it does not answer, or takes no writes"
    assert not CLASS.search(own_words(caught.value))
    assert "hunter2" not in own_words(caught.value)
