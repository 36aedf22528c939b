"""Server settings; gunicorn reads this file by itself when it is started beside it."""

import logging
import os
import sys
from concurrent.futures import Future

import structlog
from gunicorn.glogging import Logger
from gunicorn.workers import gthread

from app import build, settings_with_warnings
from mailer.cli.failures import failure_of
from mailer.logs.access import access_fields, is_quiet
from mailer.logs.configuration import adopt, configure
from mailer.settings import log_settings
from mailer.settings.listening import refusals


class PatientWorker(gthread.ThreadWorker):
    """A worker that gives a connection a thread only when data has arrived on it.

    gunicorn's own worker lets a silent connection occupy a thread for five seconds.
    """

    def enqueue_req(self, conn):
        """Give a connection with data to a thread, and wait for the others' data beside the listening socket."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        silent = Future()
        silent.set_result(gthread._DEFER)  # what gunicorn's own worker answers after the five seconds
        self.finish_request(conn, silent)


class ServiceLogger(Logger):
    """gunicorn's own lines and one for each request, written as all others are."""

    def setup(self, cfg):
        """Set up as gunicorn does, also again when it reloads its configuration, and take the handlers over."""
        super().setup(cfg)
        adopt("gunicorn.error", "gunicorn.access")
        for log in (self.error_log, self.access_log):
            log.setLevel(logging.NOTSET)  # so that MAILER_LOG_LEVEL holds for them

    def access(self, resp, _req, environ, request_time):
        """Log a request that was answered."""
        log = structlog.get_logger("gunicorn.access")
        fields = access_fields(environ, resp.status, resp.sent, request_time.total_seconds())
        (log.debug if is_quiet(environ) else log.info)("request", **fields)


bind = "127.0.0.1:8000"
workers = 2
worker_class = PatientWorker
threads = 64  # each may be kept waiting by a client that sends slowly; they are made when they are needed
keepalive = 5  # also how long a connection may be silent at its beginning
graceful_timeout = 30
control_socket_disable = True  # its path is the same for all services that one user runs
max_requests = 0  # no worker is recycled: it would only interrupt its batch
# no header changes the path, the scheme or the peer; X-Forwarded-For is read by the app, from trusted proxies only
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers = {}
header_map = "drop"

logger_class = ServiceLogger
accesslog = "-"
log_format, log_level = log_settings()
configure(log_format, log_level)
logging.getLogger("gunicorn.error").addFilter(lambda record: record.msg != "Starting gunicorn %s")  # it may yet refuse


def on_starting(server):
    """Before any worker starts, exit with one line if the address is in use or a setting is bad; else migrate.

    The migration is done here once, and the workers find the schema as they need it.
    """
    inherited = server.master_pid or os.environ.get("LISTEN_FDS")  # sockets from an earlier gunicorn, or from systemd
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
    if log_format == "json":
        logging.getLogger("mailer").critical(why)
    else:
        sys.stderr.write(f"mailer: {why}\n")
    sys.exit(code)  # the same as the command line's


def post_worker_init(worker):
    """Start delivery threads in each worker, after the fork."""
    services = worker.wsgi.extensions["mailer"]
    services.directory_reads.resize(worker.cfg.threads // 2)
    services.engine.start()


def worker_exit(_server, worker):
    """Finish the checkpoints in hand before the worker exits."""
    if not worker.booted:  # its start failed, so it has nothing in hand
        return
    services = worker.wsgi.extensions["mailer"]
    services.engine.stop(timeout=graceful_timeout - 5)
    services.transport.close()
