"""Carry out the Containerfile without a container engine, and run what it makes: `make check-image`.

For machines that cannot pull images. Each stage is a copy of a fresh Debian made by debootstrap, in place of the base
image: the same Debian and Python, from Debian's packages. It knows the instructions that our Containerfile uses, and
refuses others. What comes out is run as the compose file runs it: as the image's user, without capabilities, on a
read-only root, with a /tmp of its own and a volume. Needs root, debootstrap, and the package index that pip is set to.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

CONTEXT = Path(__file__).resolve().parent.parent
PACKAGES = "python3,python3-venv,ca-certificates"
SECONDS = 120
LENT = [one for one in os.environ.get("CHECK_IMAGE_LENT", "").split(":") if one]  # where pip's index is, if in folders


@dataclass
class Stage:
    """One stage of the Containerfile, and what its instructions set."""

    root: Path
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
    )
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    volume: str = ""
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    stopsignal: str = "SIGTERM"
    expose: str = ""


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Containerfile with their arguments, comments left out and lines joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def build(text: str, base: Path, work: Path) -> Stage:
    """Carry out all instructions; the last stage comes back."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for word, rest in instructions(text):
        print(f"{word} {rest}", flush=True)
        if word == "FROM":
            name = rest.split(" AS ")[1] if " AS " in rest else "last"
            stage = stages[name] = Stage(work / name)
            subprocess.run(["cp", "-a", "--reflink=auto", base, stage.root], check=True)
            continue
        assert stage is not None, "no FROM"
        carry_out(stage, stages, word, rest)
    assert stage is not None, "no FROM"
    return stage


def carry_out(stage: Stage, stages: dict[str, Stage], word: str, rest: str) -> None:
    """One instruction."""
    match word:
        case "WORKDIR":
            stage.folder = rest
            inside(stage, rest).mkdir(parents=True, exist_ok=True)
        case "ENV":
            stage.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        case "ARG":
            name, _, default = rest.partition("=")
            stage.arguments[name] = os.environ.get(name, default)
        case "COPY":
            copy(stage, stages, rest)
        case "RUN":
            run_step(stage, rest)
        case "USER" | "VOLUME" | "STOPSIGNAL" | "EXPOSE":
            setattr(stage, word.lower(), rest)
        case "CMD":
            stage.command = json.loads(rest)
        case "HEALTHCHECK":
            stage.health = json.loads(rest.partition(" CMD ")[2])
        case _:
            sys.exit(f"check-image: it does not know {word}")


def inside(stage: Stage, path: str) -> Path:
    """Where a path of the image is on this machine."""
    return stage.root / os.path.join(stage.folder, path).lstrip("/")  # noqa: PTH118 - an absolute path wins


def copy(stage: Stage, stages: dict[str, Stage], rest: str) -> None:
    """COPY, from the context or from an earlier stage."""
    words = shlex.split(rest)
    source = CONTEXT
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    for name in names:
        path = source / name.lstrip("/")
        into = inside(stage, target)
        into = into / path.name if target.endswith("/") or len(names) > 1 else into
        if path.is_dir():
            shutil.copytree(path, into, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, into)


def run_step(stage: Stage, command: str) -> None:
    """RUN, as root, with the machine's own settings for the package index taken along."""
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_proxy")}
    environment = {**pip, **stage.environment, **stage.arguments}
    script = f"cd {shlex.quote(stage.folder)} && {command}"
    lent = "".join(f'mkdir -p "$0{one}" && mount --rbind {one} "$0{one}" && ' for one in ["/dev", *LENT])
    prepare = f'mount -t proc proc "$0/proc" && {lent} exec chroot "$0" sh -ec "$1"'
    unshare = ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", prepare, str(stage.root), script]
    subprocess.run(unshare, env=environment, check=True)


def take_along(base: Path) -> None:
    """Give the base what only this machine needs: names, certificates and where pip looks."""
    kept = [Path("/etc/resolv.conf"), Path("/etc/hosts"), Path("/etc/pip.conf"), Path("/root/.config/pip/pip.conf")]
    kept += [Path(os.environ[name]) for name in ("PIP_CERT",) if os.environ.get(name, "").startswith("/")]
    for path in kept:
        target = base / str(path).lstrip("/")
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        elif path.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    link = base / "usr/local/bin/python"
    if not link.exists():
        link.symlink_to("/usr/bin/python3")


def start(
    stage: Stage, command: list[str], volume: Path, settings: dict[str, str], beside: int = 0
) -> subprocess.Popen[bytes]:
    """Run a command in the image as the compose file does, on a network of its own or that of the process `beside`."""
    prepare = f"""
        mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"
        mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/tmp"
        mount --bind {shlex.quote(str(volume))} "$0{stage.volume}"
        exec setpriv --no-new-privs \\
            /usr/sbin/chroot --userspec={stage.user} "$0" sh -c 'cd {stage.folder} && exec "$@"' sh "$@"
    """
    network = ["nsenter", f"--net=/proc/{beside}/ns/net", "unshare"] if beside else ["unshare", "--net"]
    prepare = prepare if beside else f"ip link set lo up {prepare}"
    words = [*network, "--mount", "sh", "-ec", prepare, str(stage.root), *command]
    return subprocess.Popen(
        words, env={**stage.environment, **settings, "PATH": f"{stage.environment['PATH']}:/usr/sbin"}
    )


def works(stage: Stage, work: Path) -> None:
    """Run the image's own command until its health check succeeds, run commands beside it, and stop it."""
    volume = work / "volume"
    shutil.copytree(inside(stage, stage.volume), volume, dirs_exist_ok=True)  # as an engine fills a new volume
    owner = stage.user.partition(":")[0]
    shutil.chown(volume, int(owner), int(owner))
    volume.chmod(0o700)
    settings = {"MAILER_TRANSPORT": "file:outbox"}
    before = listing(stage.root)
    server = start(stage, stage.command, volume, settings)
    try:
        ends = time.monotonic() + SECONDS
        while start(stage, stage.health, volume, {}, server.pid).wait() != 0:
            assert server.poll() is None, "it ended by itself"
            assert time.monotonic() < ends, "its health check does not succeed"
            time.sleep(0.5)
        print("healthy", flush=True)
        for command in (["mailer", "config", "check"], ["mailer", "status"], ["sh", "-c", "! touch /opt/mailer/x"]):
            assert start(stage, command, volume, settings, server.pid).wait() == 0, command
    finally:
        began = time.monotonic()
        server.send_signal(getattr(signal, stage.stopsignal))
        code = server.wait(timeout=40)
    assert code == 0, f"it ended with {code}"
    print(f"stopped after {time.monotonic() - began:.1f} s", flush=True)
    assert listing(stage.root) == before, "something was written outside the volume"
    made = {path.relative_to(volume).as_posix(): path.stat() for path in volume.rglob("*")}
    assert {"instance/mailer.db", "instance/secret.key"} <= set(made), sorted(made)
    assert {one.st_uid for one in made.values()} == {int(owner)}
    assert made["instance"].st_mode & 0o077 == 0, "others may read what is in the volume"


def listing(root: Path) -> list[tuple[str, int]]:
    """All files of the image with their times."""
    return sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob("*") if "/proc/" not in str(path))


def main() -> None:
    """Build in a folder of its own.

    `CHECK_IMAGE_BASE` names one in which the base is kept between runs, `CHECK_IMAGE_LENT` folders of this machine that
    the steps see too.
    """
    with tempfile.TemporaryDirectory(prefix="check-image-") as folder:
        work = Path(folder)
        work.chmod(0o711)
        base = Path(os.environ.get("CHECK_IMAGE_BASE", work / "base"))
        if not base.exists():
            subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", base], check=True)
        take_along(base)
        stage = build((CONTEXT / "deploy" / "Containerfile").read_text("utf-8"), base, work)
        works(stage, work)
    print("the image is built and works")


if __name__ == "__main__":
    main()
