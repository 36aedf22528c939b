from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from mailer.directory.documents import normalise
from mailer.errors import InvalidRow
from mailer.messages.links import NOBODY, PREVIEW, Links
from mailer.storage.database import Database
from mailer.storage.models import User
from mailer.suppression.unsubscribes import resubscribe, unsubscribe, unsubscribe_matching

OLD, NEW = "an old key of some length " * 2, "a new key of some length " * 2
SITE = "https://mail.example.org"
LINKS = Links([NEW], SITE)


def token_of(links: Links, user_id: str) -> str:
    return links.link(user_id).rpartition("/")[2]


def marks(db: Database) -> dict[str, int | None]:
    with db.read() as connection:
        return {row.id: row.unsubscribed_at for row in connection.execute(select(User.id, User.unsubscribed_at))}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_read_of_a_link_gives_the_user_back(user_id: str) -> None:
    link = LINKS.link(user_id)

    assert link.startswith("https://mail.example.org/mailer/unsubscribe/")
    token = link.removeprefix("https://mail.example.org/mailer/unsubscribe/")
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert LINKS.read(token) == user_id


def test_link_of_the_same_user_stays_the_same() -> None:
    assert LINKS.link("u1") == Links([NEW], SITE + "/").link("u1")


def test_link_is_signed_with_hmac_sha_256() -> None:
    payload, _, signature = token_of(LINKS, "u1").rpartition(".")
    derived = hmac.digest(NEW.encode(), b"mailer.unsubscribe", "sha256")
    expected = hmac.new(derived, payload.encode(), hashlib.sha256).digest()

    assert base64.urlsafe_b64decode(signature + "=") == expected


@given(st.data())
def test_read_of_a_changed_token_gives_nobody(data: st.DataObject) -> None:
    token = token_of(LINKS, "rbAXPnMktTFbNpwtJ")
    place = data.draw(st.integers(0, len(token) - 2))  # the last character carries two bits that mean nothing
    other = data.draw(st.sampled_from("ABab01-_.é").filter(lambda character: character != token[place]))

    assert LINKS.read(token[:place] + other + token[place + 1 :]) is None


@given(st.text(st.characters(codec=None), max_size=60))
def test_read_of_anything_gives_nobody(token: str) -> None:
    assert LINKS.read(token) is None
    assert LINKS.read(f"{token}.{token_of(LINKS, 'u1').rpartition('.')[2]}") is None


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(lambda token: token.partition(".")[0], id="no signature"),
        pytest.param(lambda token: token.partition(".")[0] + ".", id="empty signature"),
        pytest.param(lambda token: "dTI." + token.partition(".")[2], id="another user under this signature"),
        pytest.param(lambda token: token[:-6], id="cut short"),
        pytest.param(lambda token: token + "AAAA", id="longer"),
        pytest.param(lambda token: token.upper(), id="upper case"),
        pytest.param(lambda _: token_of(Links(["another server's key " * 3], SITE), "u1"), id="foreign key"),
    ],
)
def test_read_of_a_forged_token_gives_nobody(forged: Callable[[str], str]) -> None:
    assert LINKS.read(forged(token_of(LINKS, "u1"))) is None


LONG = "rbAXPnMktTFbNpwtJ" * 3
APPENDED = (
    *(".", ")", ",", ">", "/", "//", ";", ":", "!", "?", "]", "}", "'", '"', "`", "*", "**", "_", "-", "|", "\\", "<"),
    *(
        "”",
        "’",
        "»",
        "›",
        "…",
        "。",
        ")",
        "\xa0",
        "\u200b",
        "\ufeff",
        " ",
        "\t",
        "\r\n",
        "\n\n",
        ").",
        ">.",
        '".',
        "'>",
    ),
    *(
        "&gt;",
        "&gt",
        "&quot;",
        "&#34;",
        "&amp;x=1",
        "%3E",
        "%3e",
        "%20",
        "%0D%0A",
        "%22%3E",
        "%253E",
        "%E2%80%9D",
        "%2F",
    ),
    *("=", "=\r\n", "=20", "=3E", "=0D=0A", "=E2=80=9D", "%3D", ".Regards", ")and so on", "</a>", "<br>", "]]>", "&_x"),
)


@pytest.mark.parametrize("appended", APPENDED, ids=repr)
def test_read_passes_over_what_programs_append(appended: str) -> None:
    assert LINKS.read(token_of(LINKS, LONG) + appended) == LONG
    assert LINKS.read(token_of(LINKS, LONG)[:-1] + appended) is None
    assert LINKS.read("A" + token_of(LINKS, LONG)[1:] + appended) is None


WRAPPED = {
    "at the beginning": lambda token: f"<{token}>",
    "quoted-printable, its soft line ends": lambda token: "=\r\n".join(token[n : n + 20] for n in range(0, 200, 20)),
    "quoted-printable, a rest of them": lambda token: "=".join(token[n : n + 20] for n in range(0, 200, 20)),
    "quoted-printable, the dot": lambda token: token.replace(".", "=2E"),
    "quoted-printable, all of it": lambda token: "".join(f"={ord(character):02X}" for character in token),
    "line ends": lambda token: token[:9] + "\r\n" + token[9:50] + "\n " + token[50:],
    "line ends, encoded": lambda token: token[:9] + "%0D%0A" + token[9:50] + "%250A" + token[50:],
    "a blank": lambda token: token[:30] + " " + token[30:],
    "marks of a quotation": lambda token: token[:30] + "\r\n> " + token[30:],
    "soft hyphens and zero-width blanks": lambda token: token[:9] + "\xad" + token[9:30] + "\u200b" + token[30:],
    "encoded": lambda token: "".join(f"%{ord(character):02x}" for character in token),
    "encoded twice": lambda token: "".join(f"%25{ord(character):02X}" for character in token),
    "entities": lambda token: token.replace(".", "&#46;").replace("-", "&#x2d;"),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_read_undoes_what_programs_do_to_a_link(wrap: Callable[[str], str]) -> None:
    token = token_of(LINKS, LONG)
    assert LINKS.read(wrap(token)) == LONG
    assert LINKS.read(wrap(token[:20] + ("B" if token[20] != "B" else "C") + token[21:])) is None


def test_read_of_endless_text_ends_soon() -> None:
    assert LINKS.read("=2E." * 1_000_000 + token_of(LINKS, "u1")) is None


@pytest.mark.parametrize("whose", [NOBODY, PREVIEW])
def test_link_of_nobody_can_be_no_users(whose: str) -> None:
    assert LINKS.read(token_of(LINKS, whose)) == whose
    assert LINKS.read(token_of(LINKS, whose.strip("\x7f"))) == whose.strip("\x7f")  # of a user with such an id
    with pytest.raises(InvalidRow):
        normalise({"_id": whose}, 1)


def test_read_after_key_rotation_takes_both_keys_and_signs_with_the_first() -> None:
    rotated = Links([NEW, OLD], SITE)

    assert rotated.read(token_of(Links([OLD], SITE), "u1")) == "u1"
    assert rotated.link("u1") == LINKS.link("u1")


def test_read_after_a_key_was_dropped_gives_nobody() -> None:
    assert LINKS.read(token_of(Links([OLD], SITE), "u1")) is None


@pytest.mark.parametrize("keys", [[], [""], [NEW, ""]])
def test_links_without_a_key_are_refused(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="key"):
        Links(keys, SITE)


@pytest.mark.parametrize(
    "url", ["", "example.org", "ftp://example.org", "https://münchen.de", "https://a b", "https://"]
)
def test_links_without_a_plain_web_address_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Links([NEW], url)


def test_unsubscribe_marks_one_user_with_the_time(db: Database, add_users: Callable[..., list[str]]) -> None:
    first, second = add_users(db, 2)

    assert unsubscribe(db, first)

    with db.read() as connection:
        now = db.clock(connection)
    after = marks(db)
    assert now - 60_000 <= (after[first] or 0) <= now
    assert after[second] is None


def test_unsubscribe_twice_keeps_the_first_time(any_db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(any_db, 1, unsubscribed_at=1_000)

    assert unsubscribe(any_db, "user00000")

    assert marks(any_db) == {"user00000": 1_000}


def test_unsubscribe_of_nobody(any_db: Database) -> None:
    assert not unsubscribe(any_db, "nobody")


def test_resubscribe_takes_the_mark_back(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 2, unsubscribed_at=1_000)

    assert resubscribe(db, "user00000")
    assert resubscribe(db, "user00000")

    assert marks(db) == {"user00000": None, "user00001": 1_000}


def test_resubscribe_of_nobody(any_db: Database) -> None:
    assert not resubscribe(any_db, "nobody")


@pytest.mark.parametrize(
    ("user_id", "created_at", "expected"),
    [
        pytest.param("user00001", 1_420_070_400_001, True, id="both match"),
        pytest.param("user00001", 1_420_070_400_000, False, id="another user's time"),
        pytest.param("user00000", 1_420_070_400_001, False, id="another user's id"),
        pytest.param("nobody", 0, False, id="nobody"),
    ],
)
def test_unsubscribe_matching(
    db: Database, add_users: Callable[..., list[str]], user_id: str, created_at: int, expected: bool
) -> None:
    add_users(db, 2)

    assert unsubscribe_matching(db, user_id, created_at) is expected

    assert [key for key, mark in marks(db).items() if mark is not None] == ([user_id] if expected else [])
