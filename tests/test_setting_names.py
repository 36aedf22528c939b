"""Variables that look like settings and are none."""

from __future__ import annotations

import pytest

from mailer.settings.names import unknown_names

KNOWN = ("MAILER_TRANSPORT", "MAILER_SITE_URL", "MAILER_SITE_NAME", "MAILER_DATABASE_URL", "MAILER_AUTH_TOKEN")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("MAILER_TRANSPROT", "MAILER_TRANSPORT"),
        ("MAILER_TRANSPORTS", "MAILER_TRANSPORT"),
        ("mailer_transport", "MAILER_TRANSPORT"),
        ("Mailer_Site_Url", "MAILER_SITE_URL"),
        ("MAILER_SITEURL", "MAILER_SITE_URL"),
        ("MAILER_DB_URL", "MAILER_DATABASE_URL"),
        ("MAILER_TOKEN", "MAILER_AUTH_TOKEN"),
        ("MAILER_XYZZY", None),
        ("MAILER_", None),
    ],
)
def test_slip_of_the_pen_is_found_with_the_nearest_name(name: str, nearest: str | None) -> None:
    (found,) = unknown_names([name, "PATH", "MAIL", *KNOWN], KNOWN)
    assert (found.name, found.nearest) == (name, nearest)
    assert str(found).startswith(f"{name}: there is no such setting")
    assert str(found).endswith(f"did you mean {nearest}?" if nearest else "no such setting")


@pytest.mark.parametrize(
    "name",
    [
        "MAILER_SERVICE_HOST",
        "MAILER_SERVICE_PORT",
        "MAILER_SERVICE_PORT_HTTP",
        "MAILER_PORT",
        "MAILER_PORT_8000_TCP",
        "MAILER_PORT_8000_TCP_ADDR",
        "MAILERS",
        "PATH",
        "MAIL",
    ],
)
def test_what_orchestrators_and_others_set_is_no_slip(name: str) -> None:
    assert unknown_names([name], KNOWN) == ()


def test_each_is_told_once_in_order() -> None:
    found = unknown_names(["MAILER_B", "MAILER_A", "MAILER_B", *KNOWN], KNOWN)
    assert [one.name for one in found] == ["MAILER_A", "MAILER_B"]
