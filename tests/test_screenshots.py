"""The pictures of the pages: there, small, and shown where people look for them. `make screenshots` takes them."""

from __future__ import annotations

import struct

import pytest

from tests.doc_pages import ROOT, links
from tests.screenshots import FOLDER, LARGEST, SHOTS, Shot


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.file)
def test_picture_is_small_and_shown_in_the_readme_and_the_docs(shot: Shot) -> None:
    picture = (FOLDER / shot.file).read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(picture) <= LARGEST
    width, height = struct.unpack(">II", picture[16:24])
    assert (width, height <= shot.height) == (shot.width, True)
    assert f"docs/images/{shot.file}" in links(ROOT / "README.md")
    assert f"images/{shot.file}" in links(ROOT / "docs" / "pages.md")


def test_no_picture_is_left_over() -> None:
    assert {path.name for path in FOLDER.glob("*.png")} == {shot.file for shot in SHOTS}
