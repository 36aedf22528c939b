from __future__ import annotations

import fcntl
import json
import mailbox
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from transports import Message, Status, TransportConfigError, TransportUnavailable, from_url
from transports.file.folders import STALE
from transports.file.mbox import mbox_entry
from transports.file.transport import FileTransport

ROOT = Path(__file__).parent.parent
FORMATS = ("eml", "maildir", "mbox")


def message(number: int | str, text: bytes = b"Hello\r\n", sender: str = "list@example.org") -> Message:
    content = f"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= {number}\r\n\r\n".encode() + text
    return Message(f"m{number}", sender, f"r{number}@example.org", content)


def stored(folder: Path, form: str) -> list[bytes]:
    """The contents in `folder`, sorted, with the line ends that the format keeps."""
    if form == "eml":
        return sorted(path.read_bytes() for path in folder.glob("*.eml"))
    if form == "maildir":
        return sorted(path.read_bytes() for part in ("new", "cur") for path in (folder / part).iterdir())
    box = mailbox.mbox(folder / "mbox")
    try:
        return sorted(box.get_bytes(key) for key in box.keys())  # noqa: SIM118
    finally:
        box.close()


def expected(form: str, *messages: Message) -> list[bytes]:
    contents = (each.content for each in messages)
    return sorted(contents if form == "eml" else (each.replace(b"\r\n", b"\n") for each in contents))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".tmp-*")] + [path.name for path in folder.glob("tmp/*")]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel lets no file of this process grow past `size` bytes: a disk that is full, as far as we can tell."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def run_sender(folder: Path, form: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own, with `transport`, `message` and what it needs to break things."""
    head = f"""
import os, signal, sys
from transports import Message, TransportConfigError, TransportUnavailable, from_url
def message(number, text=b"Hello\\r\\n"):
    content = f"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= {{number}}\\r\\n\\r\\n".encode() + text
    return Message(f"m{{number}}", "list@example.org", f"r{{number}}@example.org", content)
transport = from_url("file:{folder}?format={form}")
"""
    return subprocess.run(
        [sys.executable, "-c", head + code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("form", FORMATS)
def test_files_and_folders_are_private(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "out"
    old = os.umask(0)
    try:
        list(from_url(f"file:{folder}?format={form}").send([message(1)]))
    finally:
        os.umask(old)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")] if path.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})


@pytest.mark.parametrize("form", FORMATS)
def test_sent_again_is_there_once(tmp_path: Path, form: str) -> None:
    url = f"file:{tmp_path}?format={form}"
    first, second = [message(1), message(2)], [message(2), message(3), message(3)]

    list(from_url(url).send(first))
    outcomes = list(from_url(url).send(second))

    assert [each.status for each in outcomes] == [Status.SENT] * 3
    assert stored(tmp_path, form) == expected(form, message(1), message(2), message(3))


def test_eml_sent_again_is_the_newer_one(tmp_path: Path) -> None:
    transport = from_url(f"file:{tmp_path}")

    list(transport.send([message(1, b"old\r\n")]))
    list(transport.send([message(1, b"new\r\n")]))

    assert (tmp_path / "m1.eml").read_bytes() == message(1, b"new\r\n").content
    assert [entry["file"] for entry in read_index(tmp_path)] == ["m1.eml", "m1.eml"]


def read_index(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "index.ndjson").read_text().splitlines()]


def test_eml_index_describes_each_message(tmp_path: Path) -> None:
    before = int(time.time() * 1000)

    list(from_url(f"file:{tmp_path}").send([message(1), message(2)]))

    first, second = read_index(tmp_path)
    assert before <= first.pop("time") <= time.time() * 1000  # type: ignore[operator]
    assert first == {
        "id": "m1",
        "recipient": "r1@example.org",
        "subject": "Grüße 1",
        "file": "m1.eml",
        "size": len(message(1).content),
    }
    assert second["id"] == "m2"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("bad", ["../escape", "a/b", ".hidden", "", "x" * 201, "nul\0", "ü", "..", "a b"], ids=ascii)
def test_id_that_is_no_file_name_is_refused(tmp_path: Path, form: str, bad: str) -> None:
    folder = tmp_path / "out"
    one = Message(bad, "list@example.org", "ann@example.org", b"Subject: x\r\n\r\n")

    outcomes = list(from_url(f"file:{folder}?format={form}").send([one, message(1)]))

    assert [(each.id, each.status) for each in outcomes] == [(bad, Status.REFUSED), ("m1", Status.SENT)]
    assert stored(folder, form) == expected(form, message(1))
    assert names(tmp_path) == ["out"]


def test_only_the_last_folder_is_created(tmp_path: Path) -> None:
    from_url(f"file:{tmp_path}/a%20b")

    assert (tmp_path / "a b").is_dir()
    with pytest.raises(TransportConfigError, match="parent folder does not exist"):
        from_url(f"file:{tmp_path}/missing/out")
    assert names(tmp_path) == ["a b"]


@pytest.mark.parametrize("prefix", ["", "//"])
def test_url_with_an_absolute_path(tmp_path: Path, prefix: str) -> None:
    list(from_url(f"file:{prefix}{tmp_path}").send([message(1)]))

    assert (tmp_path / "m1.eml").exists()


def test_relative_folder_stays_the_same_after_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    transport = from_url("file:./out")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    list(transport.send([message(1)]))

    assert (tmp_path / "out" / "m1.eml").exists()


def test_symlinked_away_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    with pytest.raises(TransportConfigError, match="symbolic link"):
        from_url(f"file:{tmp_path}/link")
    assert names(tmp_path / "real") == []


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")

    with pytest.raises(TransportConfigError, match="is not a folder"):
        from_url(f"file:{tmp_path}/plain")


@pytest.mark.parametrize("url", ["file:", "file:?format=eml", "file:out?format=pst", "file:a%00b"])
def test_url_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(TransportConfigError):
        from_url(url)
    assert names(tmp_path) == []


@pytest.mark.slow
def test_read_only_folder_is_refused_and_lost_permission_is_unavailable() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "out"
        folder.mkdir()
        if os.getuid() == 0:  # root may write anywhere: be somebody else
            folder.parent.chmod(0o755)
            os.chown(folder, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, folder], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
        )
    assert done.returncode == 0, done.stderr
    assert "out is not writable" in done.stdout
    assert "lost: file:" in done.stdout


READ_ONLY = """
import os, sys
from transports import Message, TransportConfigError, TransportUnavailable, from_url
folder = sys.argv[1]
import transports.file.transport, transports.file.formats
transports.file.formats.subject(b'Subject: x')  # imports what this user may not read afterwards
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
transport = from_url(f"file:{folder}")
os.chmod(folder, 0o500)
try:
    from_url(f"file:{folder}")
except TransportConfigError as error:
    print(error)
try:
    list(transport.send([Message("m", "a@b", "c@d", b"x")]))
except TransportUnavailable as error:
    print("lost:", error)
os.chmod(folder, 0o700)
assert os.listdir(folder) == [], os.listdir(folder)
"""


@pytest.mark.parametrize("form", FORMATS)
def test_full_disk_leaves_no_part_of_the_batch(tmp_path: Path, form: str) -> None:
    transport = from_url(f"file:{tmp_path}?format={form}")
    list(transport.send([message("first")]))
    files = sorted(str(path) for path in tmp_path.rglob("*"))
    batch = [message(1), message(2, b"x" * 70_000 + b"\r\n"), message(3)]

    with largest_file(60_000), pytest.raises(TransportUnavailable, match="File too large"):
        list(transport.send(batch))

    assert stored(tmp_path, form) == expected(form, message("first"))
    assert left_over(tmp_path) == []
    if form != "mbox":  # SQLite opens and closes files of its own
        assert sorted(str(path) for path in tmp_path.rglob("*")) == files
    assert [each.status for each in transport.send(batch)] == [Status.SENT] * 3
    assert stored(tmp_path, form) == expected(form, message("first"), *batch)


def test_full_disk_while_the_index_is_written_takes_the_files_back(tmp_path: Path) -> None:
    transport = from_url(f"file:{tmp_path}")
    list(transport.send(message(number) for number in range(60)))
    lines = (tmp_path / "index.ndjson").read_bytes()

    with largest_file(len(lines) + 50), pytest.raises(TransportUnavailable):
        list(transport.send([message("one")]))

    assert (tmp_path / "index.ndjson").read_bytes() == lines
    assert not (tmp_path / "mone.eml").exists()
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("form", ["eml", "maildir"])
def test_failure_between_two_names_takes_the_new_ones_back(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = from_url(f"file:{tmp_path}?format={form}")
    list(transport.send([message(1)]))
    rename, calls = os.rename, []

    def fail_at_the_third(*args: object, **names: object) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        rename(*args, **names)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", fail_at_the_third)
    with pytest.raises(TransportUnavailable, match="No space left"):
        list(transport.send(message(number) for number in range(1, 6)))

    assert stored(tmp_path, form) == expected(form, message(1))
    assert left_over(tmp_path) == []
    if form == "eml":
        assert len(read_index(tmp_path)) == 1


@pytest.mark.parametrize("form", ["eml", "maildir"])
def test_everything_is_flushed_before_it_gets_its_name_and_before_the_outcome(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = from_url(f"file:{tmp_path}?format={form}")
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def record_fsync(fd: int) -> None:
        fsync(fd)
        calls.append("flush folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "flush file")

    def record_rename(*args: object, **names: object) -> None:
        rename(*args, **names)  # type: ignore[arg-type]
        calls.append("rename")

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "rename", record_rename)
    next(transport.send([message(1), message(2), message(3)]))

    flushed = 4 if form == "eml" else 3  # the index too
    assert calls == ["flush file"] * flushed + ["rename"] * 3 + ["flush folder"]


KILL_AT_FLUSH = """
calls = []
def kill(fd):
    calls.append(fd)
    if len(calls) == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = kill
list(transport.send([message(1), message(2)]))
"""


@pytest.mark.parametrize(
    ("form", "at"),
    [("eml", 1), ("eml", 2), ("eml", 3), ("eml", 4), ("maildir", 1), ("maildir", 2), ("maildir", 3), ("mbox", 1)],
)
def test_killed_process_leaves_nothing_half_and_nothing_doubled(tmp_path: Path, form: str, at: int) -> None:
    url = f"file:{tmp_path}?format={form}"
    list(from_url(url).send([message(0)]))

    killed = run_sender(tmp_path, form, KILL_AT_FLUSH.format(at=at))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    list(from_url(url).send([message(1), message(2)]))

    assert stored(tmp_path, form) == expected(form, message(0), message(1), message(2))


@pytest.mark.parametrize("form", ["eml", "maildir"])
def test_stale_temporary_files_are_swept_at_start(tmp_path: Path, form: str) -> None:
    url = f"file:{tmp_path}?format={form}"
    from_url(url)
    place = tmp_path / "tmp" if form == "maildir" else tmp_path
    old, fresh, foreign = (place / name for name in (".tmp-0123.part", ".tmp-4567.part", ".tmp-note"))
    for path in (old, fresh, foreign):
        path.write_text("x")
    for path in (old, foreign):
        os.utime(path, (time.time() - STALE - 60,) * 2)

    from_url(url)

    assert (old.exists(), fresh.exists(), foreign.exists()) == (False, True, True)


def test_folder_swapped_for_a_link_while_running_is_unavailable(tmp_path: Path) -> None:
    folder, other = tmp_path / "out", tmp_path / "other"
    transport = from_url(f"file:{folder}")
    other.mkdir()
    folder.rmdir()
    folder.symlink_to(other)

    with pytest.raises(TransportUnavailable):
        list(transport.send([message(1)]))
    assert names(other) == []


@pytest.mark.parametrize("name", ["index.ndjson", "mbox"])
def test_link_in_place_of_our_file_is_not_followed(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).symlink_to(victim)

    with pytest.raises((TransportConfigError, TransportUnavailable)):
        list(from_url(f"file:{folder}?format={'mbox' if name == 'mbox' else 'eml'}").send([message(1)]))
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["m1", "m1:2,", "m1:2,FS"])
def test_maildir_message_that_was_read_is_not_delivered_again(tmp_path: Path, name: str) -> None:
    transport = from_url(f"file:{tmp_path}?format=maildir")
    list(transport.send([message(1)]))
    (tmp_path / "new" / "m1").rename(tmp_path / "cur" / name)

    list(transport.send([message(1), message(12)]))

    assert names(tmp_path / "new") == ["m12"]
    assert names(tmp_path / "cur") == [name]


def test_maildir_is_read_by_the_standard_library(tmp_path: Path) -> None:
    list(from_url(f"file:{tmp_path}?format=maildir").send([message(1), message(2)]))

    assert sorted(each["Subject"][-1] for each in mailbox.Maildir(tmp_path, create=False)) == ["1", "2"]


@pytest.mark.parametrize(
    ("sender", "text", "entry"),
    [
        ("a@b", b"x\r\n", b"From a@b Thu Jan  1 00:00:00 1970\nS: s\n\nx\n\n"),
        ("", b"x\r\n", b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nS: s\n\nx\n\n"),
        ('"a b"@c', b"x", b'From "a_b"@c Thu Jan  1 00:00:00 1970\nS: s\n\nx\n\n'),
        ("a@b", b"From x\r\n>From y\r\n", b"From a@b Thu Jan  1 00:00:00 1970\nS: s\n\n>From x\n>>From y\n\n"),
        ("a@b", b"Fromage\r\n From\r\n", b"From a@b Thu Jan  1 00:00:00 1970\nS: s\n\nFromage\n From\n\n"),
    ],
    ids=["plain", "null sender", "space and no line end", "quoted", "not quoted"],
)
def test_mbox_entry(sender: str, text: bytes, entry: bytes) -> None:
    assert mbox_entry(Message("m", sender, "c@d", b"S: s\r\n\r\n" + text), 0.0) == entry


def test_mbox_held_by_a_mail_reader_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = from_url(f"file:{tmp_path}?format=mbox")
    holder = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    monkeypatch.setattr("transports.file.mbox.READER_LOCK_TIMEOUT", 0.0)
    with subprocess.Popen(
        [sys.executable, "-c", holder, tmp_path / "mbox"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(TransportUnavailable):
            list(transport.send([message(1)]))
        process.communicate(b"\n", timeout=10)

    assert [each.status for each in transport.send([message(1)])] == [Status.SENT]


def test_mbox_of_several_transports_in_a_process_waits_its_turn(tmp_path: Path) -> None:
    transport = from_url(f"file:{tmp_path}?format=mbox")
    fd = os.open(tmp_path / "mbox", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    thread = threading.Thread(target=lambda: list(transport.send([message(1)])))
    thread.start()

    thread.join(0.2)
    assert thread.is_alive()
    os.close(fd)
    thread.join(30)
    assert stored(tmp_path, "mbox") == expected("mbox", message(1))


@pytest.mark.slow
def test_mbox_of_several_processes_has_each_message_once(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from transports import Message, from_url
transport = from_url("file:{tmp_path}?format=mbox")
for start in range(0, 60, 10):
    numbers = range(start, start + 20)
    batch = [Message(f"m{{n}}", "a@b", "c@d", f"Subject: {{n}}\\r\\n\\r\\nx\\r\\n".encode()) for n in numbers]
    assert all(each.status == "sent" for each in transport.send(batch))
"""
    from_url(f"file:{tmp_path}?format=mbox").close()
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]

    assert [process.wait(60) for process in processes] == [0, 0, 0]
    subjects = sorted(int(each.split()[1]) for each in stored(tmp_path, "mbox"))
    assert subjects == list(range(70))


def test_mbox_index_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    transport = from_url(f"file:{tmp_path}?format=mbox")
    list(transport.send([message(1)]))
    for path in tmp_path.glob("mbox*"):
        path.unlink()

    list(transport.send([message(1), message(2)]))

    assert stored(tmp_path, "mbox") == expected("mbox", message(1), message(2))


def test_mbox_index_that_is_damaged_is_unavailable(tmp_path: Path) -> None:
    transport = FileTransport(tmp_path, "mbox")
    transport.close()
    for path in tmp_path.glob("mbox.index*"):
        path.write_bytes(b"not a database, whatever it may be" * 200)

    with pytest.raises(TransportUnavailable, match=r"mbox\.index: "):
        list(transport.send([message(1)]))
    assert (tmp_path / "mbox").read_bytes() == b""


def test_eml_index_is_shared_by_several_transports(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "index.ndjson", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    waiting = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[2])\n" + SEND_ONE, tmp_path, ROOT],
        stdout=subprocess.PIPE,
    )
    with waiting:
        assert waiting.stdout
        waiting.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.3)
        assert list(tmp_path.glob("*.eml")) == []
        os.close(fd)
        assert waiting.wait(30) == 0
    assert len(read_index(tmp_path)) == 1


SEND_ONE = """
from transports import Message, from_url
transport = from_url(f"file:{sys.argv[1]}")
print("ready", flush=True)
list(transport.send([Message("m1", "a@b", "c@d", b"Subject: x\\r\\n\\r\\n")]))
"""
