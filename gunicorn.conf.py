"""Server settings; gunicorn reads this file by itself when it is started beside it."""

import logging

bind = "127.0.0.1:8000"
workers = 2
worker_class = "gthread"
threads = 8
graceful_timeout = 30
max_requests = 0  # a recycled worker would give back its batch for nothing

logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
logging.getLogger("alembic").setLevel("WARNING")


def post_worker_init(worker):
    """Start delivery threads in each worker, after the fork."""
    worker.wsgi.extensions["mailer"].engine.start()


def worker_exit(_server, worker):
    """Finish the checkpoint in hand, then go."""
    services = worker.wsgi.extensions["mailer"]
    services.engine.stop(timeout=graceful_timeout - 5)
    services.transport.close()
