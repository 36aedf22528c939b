"""Server settings; gunicorn reads this file by itself when it is started beside it."""

import logging
import os
import sys
from concurrent.futures import Future

import structlog
from gunicorn.glogging import Logger
from gunicorn.sock import TCP6Socket, TCPSocket
from gunicorn.workers import gthread

from app import build
from mailer.cli.failures import failure_of
from mailer.logs.access import access_fields, is_quiet
from mailer.logs.configuration import adopt, configure
from mailer.settings import log_settings
from mailer.settings.advice import settings_with_warnings
from mailer.settings.listening import address_of, refusals


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
        settings = settings_with_warnings()
        if settings.metrics not in ("", "true"):
            _refuse_metrics_port(server, settings.metrics)
        build(settings).db.close()
        _prepare_metrics(server, settings.metrics)
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


def _refuse_metrics_port(server, place):
    """Exit if the port that is for the metrics cannot be listened at."""
    host, port = address_of(place)
    if port in [address[1] for address in server.cfg.address if isinstance(address, tuple)]:
        _give_up(f"MAILER_METRICS: {port} is the port of the service itself; name another, or true", 2)
    for refusal in () if server.master_pid else refusals([(host, port)]):
        _give_up(f"MAILER_METRICS: {refusal}", 1)


def _prepare_metrics(server, place):
    """Have the workers that are forked from now on count together, if metrics are wanted."""
    server.metrics_place = place
    server.metrics = getattr(server, "metrics", None)
    if place and server.metrics is None:
        from mailer.metrics.processes import ProcessGroup  # noqa: PLC0415 - only where it is wanted

        server.metrics = ProcessGroup()


def when_ready(server):
    """Listen for whoever reads the metrics, too. The workers answer there as they do elsewhere."""
    if server.metrics_place in ("", "true"):
        return
    host, port = address_of(server.metrics_place)
    if port in [listener.getsockname()[1] for listener in server.LISTENERS if isinstance(listener, TCPSocket)]:
        return  # it is from an earlier gunicorn, or from before a reload
    kind = TCP6Socket if ":" in host else TCPSocket
    server.LISTENERS.append(kind((host, port), server.cfg, server.log))
    server.log.info("Metrics at: %s/metrics", server.LISTENERS[-1])


def on_reload(server):
    """Do for the workers that are about to be started what was done at the start."""
    _prepare_metrics(server, settings_with_warnings().metrics)
    when_ready(server)


def child_exit(server, worker):
    """Keep what a worker has counted."""
    if server.metrics is not None:
        server.metrics.ended(worker.pid)


def on_exit(server):
    """Leave no files behind."""
    if server.metrics is not None:
        server.metrics.close()


def pre_request(_worker, _req):
    """Log nothing: gunicorn's own hook tells at `debug` the path as it came, with the ids and links that are in it."""


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
