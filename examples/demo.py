"""What `make demo` shows: a link to the pages, a dry run, a campaign to the sample users, every message as it goes out.

It stays up until Ctrl-C. With DEMO_ONCE=1 it ends by itself, with exit code 0 only if everything arrived.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import requests

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BIN = Path(sys.executable).parent
PERMISSIONS = ("send-mail", "manage-campaigns", "manage-users", "view-audit-log")
FINAL = {"completed", "completed_with_issues"}
PAGE_EXAMPLE = {
    "from": "test.test@test.com",
    "subject": "Welcome to the Test Newsletter",
    "body": "Thank you for subscribing to the Test Newsletter. If this was not you feel free to unsubscribe "
    "by hitting the following button [unsubscribe]",
    "dryrun": "true",
}
CAMPAIGN = {
    "from": "Workspace News <news@example.com>",
    "subject": "Hello [fname], there is news at [Site_Name]",
    "body": "<p>Dear [name],</p><p>this message went to [email] and to nobody else.</p>"
    '<p><a href="[unsubscribe]">Unsubscribe</a></p>',
    "query": json.dumps({"type": "user"}),
}


class Demo:
    """One run: its own database under instance/demo, its own port."""

    def __init__(self) -> None:
        self.folder = ROOT / "instance" / "demo"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.url = f"http://127.0.0.1:{free_port()}"
        self.environment = {
            **os.environ,
            "MAILER_DATABASE_URL": f"sqlite:///{self.folder}/mailer.db",
            "MAILER_TRANSPORT": "console:",
            "MAILER_SITE_URL": self.url,
            "MAILER_SITE_NAME": "Demo Workspace",
        }
        self.delivered = 0

    def mailer(self, *arguments: str) -> str:
        """Run the command line, as a person would."""
        click.secho(f"$ mailer {' '.join(arguments)}", fg="cyan")
        done = subprocess.run(
            [BIN / "mailer", *arguments], env=self.environment, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
        )
        return done.stdout

    def serve(self) -> subprocess.Popen[str]:
        """Start gunicorn and pass on what its console transport shows."""
        command = [BIN / "gunicorn", "-w", "2", "-b", self.url.removeprefix("http://"), "wsgi:app"]
        click.secho(f"$ {' '.join(['gunicorn', *map(str, command[1:])])}", fg="cyan")
        server = subprocess.Popen(
            command, env=self.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        threading.Thread(target=self._show, args=(server,), daemon=True).start()
        for _ in range(100):
            try:
                requests.get(f"{self.url}/healthz", timeout=5).raise_for_status()
            except requests.ConnectionError:
                time.sleep(0.1)
            else:
                return server
        sys.exit("the server did not start")

    def _show(self, server: subprocess.Popen[str]) -> None:
        assert server.stdout is not None
        for line in server.stdout:
            self.delivered += line.startswith("envelope ")
            click.echo(line, nl=False)

    def post(self, headers: dict[str, str], payload: dict[str, str]) -> dict[str, object]:
        """Send a campaign and follow it to its end."""
        answer = requests.post(f"{self.url}/api/v1/mailer", json=payload, headers=headers, timeout=10)
        click.secho(f"POST /api/v1/mailer -> {answer.status_code} {answer.text.strip()}", fg="green")
        answer.raise_for_status()
        return self.watch(headers, answer.headers["Location"])

    def watch(self, headers: dict[str, str], location: str) -> dict[str, object]:
        """Show a progress bar until the campaign has ended."""
        ends = time.monotonic() + 60
        with click.progressbar(length=1, label="delivering", file=sys.stderr) as bar:
            while time.monotonic() < ends:
                campaign = requests.get(self.url + location, headers=headers, timeout=10).json()["campaign"]
                bar.length = max(1, campaign["planned"])
                bar.update(campaign["planned"] - campaign["pending"] - bar.pos)
                if campaign["state"] in FINAL:
                    return campaign
                time.sleep(0.05)
        sys.exit("the campaign did not end within a minute")

    def run(self) -> bool:
        """The whole show; True when every message arrived."""
        click.echo(self.mailer("users", "import", str(HERE / "users.json")))
        caller = next(user["_id"] for user in json.loads((HERE / "users.json").read_text("utf-8")) if user["active"])
        lines = self.mailer("tokens", "create", "--user", caller, "--permission", "send-mail")
        headers = dict(line.split(": ", 1) for line in lines.splitlines() if line.startswith("X-"))
        link = self.login_link(caller)
        server = self.serve()
        try:
            click.secho(f"\nLook at it in a browser; this link lets you in once:\n{link}\n", bold=True)
            campaigns = [self.post(headers, PAGE_EXAMPLE), self.post(headers, CAMPAIGN)]
            arrived = self.arrived(campaigns)
            self.explain(headers, link)
            if "DEMO_ONCE" not in os.environ:
                server.wait()
        except KeyboardInterrupt:
            click.echo("\nstopping")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)
        return arrived

    def arrived(self, campaigns: list[dict[str, object]]) -> bool:
        """Compare the record with what was seen on the console."""
        for campaign in campaigns:
            counts = ("planned", "sent", "failed", "deferred", "uncertain", "skipped")
            click.secho(f"{campaign['state']}: " + ", ".join(f"{name} {campaign[name]}" for name in counts), bold=True)
        planned = sum(int(str(campaign["planned"])) for campaign in campaigns)
        sent = sum(int(str(campaign["sent"])) for campaign in campaigns)
        for _ in range(50):  # the last lines may still be in the pipe
            if self.delivered >= planned:
                break
            time.sleep(0.1)
        click.secho(f"{planned} planned, {sent} recorded as sent, {self.delivered} seen on the console", bold=True)
        return planned == sent == self.delivered and planned > 1

    def login_link(self, user_id: str) -> str:
        """A link with which this user may see everything on the pages."""
        permissions = [word for one in PERMISSIONS for word in ("--permission", one)]
        return self.mailer("login-link", "--user", user_id, "--expires", "1h", *permissions).strip()

    def explain(self, headers: dict[str, str], link: str) -> None:
        """What to go on with."""
        headers = {**headers, "Content-Type": "application/json"}
        options = " ".join(f"-H '{name}: {value}'" for name, value in headers.items())
        click.echo(f"\nGo on with:\ncurl {self.url}/api/v1/mailer {options} -d '{json.dumps(PAGE_EXAMPLE)}'")
        click.echo(f"The API is described at {self.url}/docs/")
        if "DEMO_ONCE" not in os.environ:
            click.echo(f"The pages: {link}")
            click.echo("Ctrl-C stops the server.")


def free_port() -> int:
    """8000 if nobody has it, else any."""
    for port in (8000, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    sys.exit("no port is free")


if __name__ == "__main__":
    sys.exit(0 if Demo().run() else 1)
