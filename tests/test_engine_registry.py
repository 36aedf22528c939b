"""From MAILER_ENGINE to an engine: the built-in ones, and those of other packages."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from app import build
from mailer.engines import Engine, engine_class, known_engines
from mailer.engines.registry import BUILT_IN, GROUP
from mailer.errors import ConfigError
from mailer.settings import Settings

ROOT = Path(__file__).parent.parent
DOCS = (ROOT / "docs" / "writing-an-engine.md").read_text()
SETTINGS = (ROOT / "docs" / "reference" / "settings.md").read_text()
EXAMPLE = ROOT / "examples" / "mailer-engine-sequential"


def install_module(folder: Path, name: str, source: str, *entries: str) -> None:
    """What an installer leaves behind: a module, and metadata that names its entry points."""
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *entries, ""]))


def test_pyproject_declares_what_is_built_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["entry-points"][GROUP] == BUILT_IN


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_engine_is_found_and_documented(name: str) -> None:
    assert issubclass(engine_class(name), Engine)
    (row,) = [line for line in SETTINGS.splitlines() if line.startswith("| `MAILER_ENGINE`")]
    assert f"`{name}`" in row


def test_unknown_engine_lists_the_known_ones_before_there_is_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_ENGINE", "carrier-pigeon")
    monkeypatch.setenv("MAILER_SECRET_KEY", "k" * 40)

    with pytest.raises(ConfigError) as caught:
        build(Settings.from_env())

    known = ", ".join(known_engines())
    assert str(caught.value) == f"MAILER_ENGINE: 'carrier-pigeon': unknown engine; known engines: {known}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        pytest.param("x = 1", "MAILER_ENGINE: ext: ext_a:E cannot be loaded", id="no such class"),
        pytest.param("import no_such_module_at_all", "cannot be loaded: No module", id="broken import"),
        pytest.param("class E: pass", "is not an Engine", id="not an engine"),
        pytest.param("def E(): pass", "is not an Engine", id="not a class"),
    ],
)
def test_entry_point_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, problem: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ext_a", raising=False)
    install_module(tmp_path, "ext_a", source, "ext = ext_a:E")

    with pytest.raises(ConfigError, match=re.escape(problem)):
        engine_class("ext")


def test_entry_point_offered_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install_module(tmp_path, "ext_b", "", "twice = ext_b:E")
    install_module(tmp_path, "ext_c", "", "twice = ext_c:E")

    with pytest.raises(ConfigError, match="more than one package offers it: ext_b:E, ext_c:E"):
        engine_class("twice")


def test_built_in_engine_cannot_be_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install_module(tmp_path, "ext_d", "", "local = ext_d:E")

    assert engine_class("local").__module__ == "mailer.engines.local"


def test_example_package_is_selected_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    entries = [f"{name} = {target}" for name, target in entry_points.items()]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mailer_engine_sequential", raising=False)
    source = (EXAMPLE / "mailer_engine_sequential.py").read_text()
    install_module(tmp_path, "mailer_engine_sequential", source, *entries)

    services = build(Settings(f"sqlite:///{tmp_path}/mailer.db", engine="sequential", secret_key=("k" * 40,)))

    assert type(services.engine).__name__ == "SequentialEngine"
    assert "sequential" in known_engines()
    services.db.close()


def test_example_in_the_docs_is_the_package() -> None:
    def code(text: str) -> list[str]:
        """Its lines without docstrings and blank lines."""
        bare = re.sub(r'"""(.|\n)*?"""\n', "", text).replace("from __future__ import annotations\n", "")
        return [line for line in bare.splitlines() if line.strip()]

    source, entry = re.findall(r"```(?:python|toml)\n(.*?)```", DOCS, re.DOTALL)[:2]

    assert code(source) == code((EXAMPLE / "mailer_engine_sequential.py").read_text())
    assert entry in (EXAMPLE / "pyproject.toml").read_text()
