"""Server settings; gunicorn reads this file by itself when it is started beside it."""

import logging
import os
import sys

from app import build, settings_with_warnings
from mailer.cli.failures import REPORTED, failure_of
from mailer.listening import refusals

bind = "127.0.0.1:8000"
workers = 2
worker_class = "gthread"
threads = 8
graceful_timeout = 30
control_socket_disable = True  # its one place per user would be shared by all services of that user
max_requests = 0  # a recycled worker would give back its batch for nothing

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
    except REPORTED as error:
        failure = failure_of(error)
        _give_up(failure.message, failure.exit_code)


def _give_up(why, code):
    sys.stderr.write(f"mailer: {why}\n")
    sys.exit(code)  # as the command line has it


def post_worker_init(worker):
    """Start delivery threads in each worker, after the fork."""
    worker.wsgi.extensions["mailer"].engine.start()


def worker_exit(_server, worker):
    """Finish the checkpoint in hand, then go."""
    if not worker.booted:  # there is nothing to finish
        return
    services = worker.wsgi.extensions["mailer"]
    services.engine.stop(timeout=graceful_timeout - 5)
    services.transport.close()
