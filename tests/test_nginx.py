"""The proxy that docs/operations.md shows, run by nginx in front of the service."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from bench.processes import free_port
from mailer.storage.models import User
from tests.conftest import user_row
from tests.doc_pages import ROOT, blocks
from tests.service import Service
from tests.smtp_servers import make_certificate

pytestmark = pytest.mark.slow

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
AROUND = """
daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxied; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {server}
}}
"""


def configuration(folder: Path, service: Service, port: int) -> str:
    (server,) = (block.text for block in blocks(ROOT / "docs" / "operations.md") if block.words == ("nginx",))
    for shown, here in {
        "listen 443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8000": f"127.0.0.1:{service.port}",
        "/etc/ssl/mail.example.com.pem": f"{folder}/certificate.pem",
        "/etc/ssl/mail.example.com.key": f"{folder}/key.pem",
    }.items():
        assert shown in server, shown
        server = server.replace(shown, here)
    return AROUND.format(folder=folder, server=server)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    """The service, which trusts the proxy, and the proxy's address."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    make_certificate(folder)
    port = free_port()
    made = Service(folder, transport="memory:", trusted_proxies="127.0.0.1", rate_limit="3/minute")
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(0)])
    with made:
        (folder / "nginx.conf").write_text(configuration(folder, made, port))
        command = [NGINX, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
        tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert tried.returncode == 0, tried.stderr
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            _wait(port)
            yield made, f"https://127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait(20)


def _wait(port: int) -> None:
    ends = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < ends, "nginx does not listen"
            time.sleep(0.05)


def ask(site: tuple[Service, str], path: str, **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = session.verify = False
        return session.get(site[1] + path, headers=headers, timeout=30)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/info", 200),
        ("/mailer/unsubscribe/nothing", 404),
        ("/readyz", 404),
        ("/healthz", 404),
        ("/docs/", 404),
        ("/mailer/unsubscribe/../../readyz", 404),
    ],
)
def test_proxy_passes_on_what_is_meant_for_the_world(site: tuple[Service, str], path: str, status: int) -> None:
    answer = ask(site, path, SCRIPT_NAME="/mailer/unsubscribe")
    assert answer.status_code == status
    passed_on = path.startswith(("/api/", "/mailer/")) and ".." not in path
    assert ("X-Frame-Options" in answer.headers) is passed_on


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_failed_logins_count_for_the_client_whatever_it_says(site: tuple[Service, str]) -> None:
    headers = [{"X-Forwarded-For": said} for said in ("192.0.2.1", "192.0.2.2, 127.0.0.1", "nonsense", "")]
    assert [ask(site, "/api/v1/me", **sent).status_code for sent in headers] == [401, 401, 401, 429]
