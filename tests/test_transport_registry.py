from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from transports import Transport, TransportConfigError, from_url, known_schemes
from transports.registry import BUILT_IN, GROUP, transport_class

ROOT = Path(__file__).parent.parent
DOCS = (ROOT / "docs" / "writing-a-transport.md").read_text()
REFERENCE = (ROOT / "docs" / "reference" / "transports.md").read_text()


def install_module(folder: Path, name: str, source: str, *entries: str, dist: str = "") -> None:
    """What an installer leaves behind: a module, and metadata that names its entry points."""
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{dist or name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist or name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *entries, ""]))


def test_pyproject_declares_what_is_built_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["entry-points"][GROUP] == BUILT_IN


@pytest.mark.parametrize("scheme", sorted(BUILT_IN))
def test_built_in_class_is_found(scheme: str) -> None:
    assert issubclass(transport_class(scheme), Transport)


@pytest.mark.parametrize("scheme", sorted(BUILT_IN))
def test_built_in_scheme_is_documented(scheme: str) -> None:
    assert f"`{scheme}:" in REFERENCE


def test_scheme_is_found_in_any_case() -> None:
    assert type(from_url("Memory:")) is transport_class("memory")


@pytest.mark.parametrize("url", ["smpt://ann:hunter2@host", "hunter2x:hunter2@host"])
def test_unknown_scheme_lists_the_known_ones(url: str) -> None:
    with pytest.raises(TransportConfigError, match=r"known schemes: console, dkim, failover, file, memory, ") as caught:
        from_url(url)

    assert "hunter2@" not in str(caught.value)
    assert all(scheme in str(caught.value) for scheme in known_schemes())


@pytest.mark.parametrize(
    ("entries", "source", "problem"),
    [
        pytest.param(["ext = ext_a:T"], "x = 1", "ext: ext_a:T cannot be loaded", id="no such class"),
        pytest.param(
            ["ext = ext_a:T"], "import no_such_module_at_all", "cannot be loaded: No module", id="broken import"
        ),
        pytest.param(["ext = ext_a:T"], "class T: pass", "is not a Transport", id="not a transport"),
        pytest.param(["ext = ext_a:T"], "def T(): pass", "is not a Transport", id="not a class"),
    ],
)
def test_entry_point_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: list[str], source: str, problem: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ext_a", raising=False)
    install_module(tmp_path, "ext_a", source, *entries)

    with pytest.raises(TransportConfigError, match=re.escape(problem)):
        from_url("ext:")


def test_entry_point_offered_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install_module(tmp_path, "ext_b", "", "twice = ext_b:T")
    install_module(tmp_path, "ext_c", "", "twice = ext_c:T")

    with pytest.raises(TransportConfigError, match="more than one package offers it: ext_b:T, ext_c:T"):
        from_url("twice:")


def test_built_in_scheme_cannot_be_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install_module(tmp_path, "ext_d", "", "memory = ext_d:T")

    assert type(from_url("memory:")).__module__ == "transports.memory"


def test_example_in_the_docs_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, entry = re.findall(r"```(?:python|toml)\n(.*?)```", DOCS, re.DOTALL)[:2]
    name, target = re.findall(r'^(\w+) = "(.*)"$', entry, re.MULTILINE)[0]
    monkeypatch.syspath_prepend(tmp_path)
    install_module(tmp_path, "mailer_transport_spool", source, f"{name} = {target}")
    spool = tmp_path / "spool"
    spool.mkdir()

    check = USE_SPOOL.format(url=f"spool:{spool}?limit=100")
    run_python(check, tmp_path)

    assert (spool / "m1").read_bytes() == b"Subject: x\r\n\r\n"


def can_build() -> bool:
    """Whether the environment can build a wheel by itself: setuptools brings that along from 70.1 on."""
    try:
        return tuple(map(int, version("setuptools").split(".")[:2])) >= (70, 1)
    except PackageNotFoundError:
        return False


@pytest.mark.skipif(not can_build(), reason="setuptools >= 70.1 is not installed here, and nothing is downloaded")
@pytest.mark.slow
def test_example_package_is_installed_and_used(tmp_path: Path) -> None:
    target = tmp_path / "site"
    source = tmp_path / "source"
    source.mkdir()
    for path in (ROOT / "examples" / "mailer-transport-log").glob("*.*"):
        (source / path.name).write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]

    run([*pip, "--disable-pip-version-check", "--target", str(target), str(source)], dict(os.environ))

    assert run_python(USE_LOG, target).split() == ["sent", "refused", "logged:m1"]


USE_SPOOL = """
from transports import Message, from_url
transport = from_url({url!r})
transport.check()
messages = [Message("m1", "a@b", "c@d", b"Subject: x\\r\\n\\r\\n"), Message("m2", "a@b", "c@d", b"x" * 101)]
outcomes = transport.send(messages)
assert [each.status for each in outcomes] == ["sent", "refused"]
"""

USE_LOG = """
import logging
from transports import Message, TransportConfigError, from_url, known_schemes
records = []
handler = logging.Handler()
handler.emit = records.append
logging.getLogger().addHandler(handler)
assert "log" in known_schemes()
transport = from_url("log:?level=warning&limit=10")
for outcome in transport.send([Message("m1", "a@b", "c@d", b"short"), Message("m2", "a@b", "c@d", b"x" * 11)]):
    print(outcome.status)
print("logged:" + ",".join(record.args[0] for record in records))
try:
    from_url("log:?colour=red")
except TransportConfigError as error:
    assert "known options: level, limit" in str(error)
else:
    raise AssertionError("an unknown option was taken")
"""


def run_python(code: str, path: Path) -> str:
    """The output of `code` in a new process that finds packages in `path` and in this checkout."""
    return run([sys.executable, "-c", code], {"PYTHONPATH": f"{path}:{ROOT}"})


def run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
