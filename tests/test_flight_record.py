"""What a flight record says, byte by byte: how it is written, found, read, refused and removed."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mailer.delivery.flight import half as half_module
from mailer.delivery.flight import recorder as recorder_module
from mailer.delivery.flight.folder import STALE, RecordFolder, folder_for
from mailer.delivery.flight.half import HEAD, Half, boot_id, from_bytes, half_size, halves_of, is_blank, to_bytes
from mailer.delivery.flight.places import DRAWN, NOT_DRAWN, SENT, are_sound, ended
from mailer.delivery.flight.recorder import Intent, Recorder, Recorders
from mailer.delivery.worklist import Claim
from mailer.selector import database_at
from transports.base import About, Status

BOOT, OTHER_BOOT = b"b" * 16, b"o" * 16
PLACES = bytes((NOT_DRAWN, DRAWN, SENT))
HALF = Half("ggzQ3dWTAFdvYtnF5", 3, 7, 2**62 + 1, PLACES)
CLAIM = Claim("ggzQ3dWTAFdvYtnF5", 3, 7, "a", "z", dry_run=False, half_open=False)
IDS = ["user00001", "user00002", "user00003"]


@pytest.fixture
def folder(tmp_path: Path) -> RecordFolder:
    """A folder that does not exist yet."""
    return RecordFolder(tmp_path / "state" / "flight", BOOT)


def names(folder: RecordFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir()) if folder.path.exists() else []


def found(folder: RecordFolder, intent: Intent) -> bytes | None:
    return folder.places(CLAIM.campaign_id, CLAIM.number, CLAIM.fence, intent.number)


def left_behind(folder: RecordFolder, *drawn: int) -> Intent:
    """A record of a thread that ended with a checkpoint in hand, of which `drawn` are the bytes."""
    left = []

    def work() -> None:
        recorder = Recorders(folder).fresh()
        recorder.write(CLAIM)
        recorder.keep()
        left.append(recorder.write(CLAIM, json.dumps(IDS), len(IDS)))
        recorder.keep()
        left[0].places[: len(drawn)] = bytes(drawn)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return left[0]


def test_half_is_read_as_it_was_written() -> None:
    assert from_bytes(to_bytes(HALF, BOOT), BOOT) == HALF
    assert from_bytes(to_bytes(HALF, BOOT) + bytes(100), BOOT) == HALF


@pytest.mark.parametrize("length", [0, 1, 8, 50, HEAD - 1, HEAD, HEAD + len(PLACES) - 1])
def test_truncated_half_is_none(length: int) -> None:
    assert from_bytes(to_bytes(HALF, BOOT)[:length], BOOT) is None


def test_half_with_any_other_byte_is_none() -> None:
    raw = to_bytes(HALF, BOOT)
    for place in range(HEAD):
        assert from_bytes(raw[:place] + bytes([raw[place] ^ 0x20]) + raw[place + 1 :], BOOT) is None
    for place in range(HEAD, len(raw)):
        assert from_bytes(raw[:place] + b"\xff" + raw[place + 1 :], BOOT) is None


def test_half_from_before_this_boot_is_none() -> None:
    assert from_bytes(to_bytes(HALF, OTHER_BOOT), BOOT) is None


def test_this_boot_has_a_name() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 16


def test_boot_without_a_name_is_nobodys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(half_module, "BOOT_ID", tmp_path / "not here")
    assert len({boot_id(), boot_id(), boot_id()}) == 3


def test_half_that_is_written_only_in_part_is_never_taken_for_another() -> None:
    """Whatever a kill leaves of the next checkpoint over the one before the last, the one in hand is whole."""
    before, after = to_bytes(HALF, BOOT), to_bytes(Half("x", 1, 1, 5, bytes(3)), BOOT)
    in_hand = to_bytes(Half("x", 1, 1, 4, PLACES), BOOT)
    for cut in range(len(before) + 1):
        spare = after[:cut] + before[cut:]
        content = spare.ljust(4096, b"\0") + in_hand.ljust(4096, b"\0")
        numbers = {half.number: half for half in halves_of(content, BOOT)}
        assert numbers[4].places == PLACES
        assert set(numbers) <= {4, 5 if cut >= HEAD else HALF.number}


def test_each_outcome_has_a_byte_of_its_own() -> None:
    pairs = [(status, about) for status in Status for about in About]
    others = {ended(status, about) for status, about in pairs if status is not Status.SENT}
    assert len(others) == 3 * len(About)
    assert not others & {NOT_DRAWN, DRAWN, SENT}
    assert {ended(Status.SENT, about) for about in About} == {SENT}
    assert are_sound(bytes(others))
    assert not are_sound(bytes([max(others) + 1]))


@pytest.mark.parametrize(("most", "size"), [(1, 4096), (1000, 4096), (4096 - HEAD, 4096), (4096 - HEAD + 1, 8192)])
def test_half_has_room_for_the_largest_checkpoint(most: int, size: int) -> None:
    assert half_size(most) == size


def test_record_is_found_once_its_thread_has_ended(folder: RecordFolder) -> None:
    intent = left_behind(folder, SENT, DRAWN)
    assert found(folder, intent) == bytes((SENT, DRAWN, NOT_DRAWN))


def test_record_of_a_thread_that_lives_is_not_read(folder: RecordFolder) -> None:
    recorders = Recorders(folder)
    recorder = recorders.fresh()
    intent = recorder.write(CLAIM, json.dumps(IDS), len(IDS))
    recorder.keep()
    assert found(folder, intent) is None
    assert list(folder.in_hand()) == []
    del recorders, recorder
    assert found(folder, intent) == bytes(3)


def test_last_checkpoint_stands_until_the_next_is_committed(folder: RecordFolder) -> None:
    recorders = Recorders(folder)
    recorder = recorders.fresh()
    first = recorder.write(CLAIM, json.dumps(IDS), len(IDS))
    recorder.keep()
    first.places[0] = SENT
    tries = [recorder.write(CLAIM, json.dumps(IDS[1:]), len(IDS) - 1) for _ in range(3)]  # whose commits failed
    del recorders, recorder
    assert found(folder, first) == bytes((SENT, 0, 0))
    assert [found(folder, each) for each in tries] == [None, None, bytes(2)]


@pytest.mark.parametrize(
    "other", [{"campaign_id": "another"}, {"batch": 4}, {"fence": 8}, {"number": 1}], ids=lambda each: next(iter(each))
)
def test_record_of_another_checkpoint_is_not_taken(folder: RecordFolder, other: dict[str, Any]) -> None:
    intent = left_behind(folder, SENT)
    mine = {"campaign_id": CLAIM.campaign_id, "batch": 3, "fence": 7, "number": intent.number}
    assert folder.places(**mine) is not None
    assert folder.places(**{**mine, **other}) is None


def test_record_of_another_boot_is_not_taken(folder: RecordFolder) -> None:
    intent = left_behind(folder, SENT)
    assert found(RecordFolder(folder.path, OTHER_BOOT), intent) is None


def test_symbolic_link_is_not_followed(folder: RecordFolder, tmp_path: Path) -> None:
    intent = left_behind(folder, SENT)
    (name,) = names(folder)
    (folder.path / name).rename(tmp_path / name)
    (folder.path / name).symlink_to(tmp_path / name)
    assert found(folder, intent) is None


def test_what_is_kept_is_private_and_names_nobody(folder: RecordFolder) -> None:
    left_behind(folder, SENT)
    (path,) = folder.path.iterdir()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    assert len(content) == 2 * half_size(1000)
    assert not [user_id for user_id in IDS if user_id.encode() in content]


def test_thread_without_a_batch_leaves_no_file(folder: RecordFolder) -> None:
    recorders = Recorders(folder)
    recorder = recorders.fresh()
    recorder.write(CLAIM, json.dumps(IDS), len(IDS))
    recorder.keep()
    assert len(names(folder)) == 1
    recorder.wipe()
    del recorders, recorder
    assert names(folder) == []


def test_each_thread_has_a_record_of_its_own(folder: RecordFolder) -> None:
    recorders = Recorders(folder)
    mine = recorders.fresh()
    others: list[Recorder] = []
    thread = threading.Thread(target=lambda: others.append(recorders.fresh()))
    thread.start()
    thread.join()
    assert recorders.fresh() is recorders.mine() is mine
    assert others != [mine]


def test_forked_process_opens_its_own_and_leaves_its_parents_alone(folder: RecordFolder) -> None:
    recorders = Recorders(folder)
    intent = recorders.fresh().write(CLAIM, json.dumps(IDS), len(IDS))
    before = names(folder)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        recorders.fresh().write(CLAIM)
        os.write(writing, str(len(names(folder))).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"2"
    os.close(reading)
    os.close(writing)
    assert set(before) <= set(names(folder))
    assert found(folder, intent) is None  # the lock is still the parent's


def test_file_that_was_removed_is_replaced_at_the_next_claim(folder: RecordFolder) -> None:
    recorders = Recorders(folder)
    recorders.fresh()
    (folder.path / names(folder)[0]).unlink()
    recorders.fresh()
    assert len(names(folder)) == 1


def test_folder_that_cannot_be_made_costs_the_record_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    folder = RecordFolder(tmp_path / "file" / "flight", BOOT)
    recorders = Recorders(folder)
    intent = recorders.fresh().write(CLAIM, json.dumps(IDS), len(IDS))
    intent.places[2] = SENT
    assert recorders.fresh() is recorders.mine()
    assert caplog.text.count("no flight record") == 1
    (tmp_path / "file").unlink()
    monkeypatch.setattr(recorder_module, "RETRY_SECONDS", 0.0)
    recorders.fresh()
    assert len(names(folder)) == 1


@pytest.fixture
def aged(folder: RecordFolder) -> RecordFolder:
    """A folder with what nobody can read: damaged, another boot's, blank, and never named; each also a day old."""
    folder.path.mkdir(parents=True)
    kinds = {
        "damaged.flight": b"x" * 8192,
        "boot.flight": to_bytes(HALF, OTHER_BOOT).ljust(8192, b"\0"),
        "empty.flight": b"",
        "blank.flight": bytes(8192),
        ".new-unnamed.flight": bytes(8192),
        "somebody's notes": b"x",
    }
    for name, content in kinds.items():
        for path in (folder.path / name, folder.path / f"{name.partition('.flight')[0]}-old{Path(name).suffix}"):
            path.write_bytes(content)
        long_ago = time.time() - STALE - 60
        os.utime(path, (long_ago, long_ago))
    return folder


def test_what_nobody_can_read_is_removed_once_it_is_old(aged: RecordFolder) -> None:
    assert list(aged.in_hand()) == []
    assert names(aged) == [".new-unnamed.flight", "boot.flight", "damaged.flight", "somebody's notes",
                           "somebody's notes-old"]  # fmt: skip
    assert is_blank(bytes(8192))


def test_databases_have_folders_of_their_own_beside_them_or_below_the_setting(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "two")]
    urls += [f"postgresql://user:secret@{host}/mailer" for host in ("a", "b")]
    urls += ["postgresql://other:word@a/mailer"]
    dbs = [database_at(url) for url in urls]
    beside = [folder_for(db, "").path for db in dbs]
    below = [folder_for(db, "/var/lib/x").path for db in dbs]
    for db in dbs:
        db.close()
    assert [path.parent for path in beside] == [tmp_path / "flight"] * 2 + [Path("instance/flight")] * 3
    assert {path.parent for path in below} == {Path("/var/lib/x/flight")}
    assert [path.name for path in beside] == [path.name for path in below]
    assert len({path.name for path in beside}) == 4
    assert beside[2].name == beside[4].name  # whoever logs in there, it is the same database
