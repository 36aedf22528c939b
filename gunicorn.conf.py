"""Server settings; gunicorn reads this file by itself when it is started beside it."""

import logging
import os
import sys
from concurrent.futures import Future

from gunicorn.workers import gthread

from app import build, settings_with_warnings
from mailer.cli.failures import failure_of
from mailer.settings.listening import refusals


class PatientWorker(gthread.ThreadWorker):
    """Gives a connection a thread once it has said something; gunicorn's own holds one for five seconds of silence."""

    def enqueue_req(self, conn):
        """Hand over a connection that speaks; keep a silent one beside the listening socket."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        silent = Future()
        silent.set_result(gthread._DEFER)  # what gunicorn's own says after its five seconds
        self.finish_request(conn, silent)


bind = "127.0.0.1:8000"
workers = 2
worker_class = PatientWorker
threads = 64  # each may wait for a client that is slow with the rest of its request; made when they are needed
keepalive = 5  # also how long a connection may be silent at its beginning
graceful_timeout = 30
control_socket_disable = True  # its one place per user would be shared by all services of that user
max_requests = 0  # a recycled worker would give back its batch for nothing
# no header changes the path, the scheme or the peer; X-Forwarded-For is read by the app, from trusted proxies only
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers = {}
header_map = "drop"

logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
logging.getLogger("alembic").setLevel("WARNING")
logging.getLogger("gunicorn.error").addFilter(lambda record: record.msg != "Starting gunicorn %s")  # too early to say


def on_starting(server):
    """Refuse an address in use or a bad setting in one line, before any worker starts; migrate once for all of them."""
    inherited = server.master_pid or os.environ.get("LISTEN_FDS")  # the sockets of who came before, or systemd's
    for refusal in () if inherited or server.cfg.reuse_port else refusals(server.cfg.address):
        _give_up(refusal, 1)
    try:
        build(settings_with_warnings()).db.close()
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        _give_up(failure.message, failure.exit_code)


def _give_up(why, code):
    sys.stderr.write(f"mailer: {why}\n")
    sys.exit(code)  # as the command line has it


def post_worker_init(worker):
    """Start delivery threads in each worker, after the fork."""
    services = worker.wsgi.extensions["mailer"]
    services.directory_reads.resize(worker.cfg.threads // 2)
    services.engine.start()


def worker_exit(_server, worker):
    """Finish the checkpoint in hand, then go."""
    if not worker.booted:  # there is nothing to finish
        return
    services = worker.wsgi.extensions["mailer"]
    services.engine.stop(timeout=graceful_timeout - 5)
    services.transport.close()
