"""The Celery application: one task without arguments, one queue, and nothing that is not needed to ring."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.loaders.app import AppLoader
from kombu import Connection, Exchange, Queue
from typing_extensions import override

from mailer.engines.celery import broker
from mailer.settings import Settings

TASK = "mailer.work"  # processes of several versions may share a queue, so the name stays


class NothingElse(AppLoader):
    """Celery's loader without `CELERY_CONFIG_MODULE`, by which the environment would add settings of Celery's."""

    @override
    def read_configuration(self, env: str = "") -> dict[str, Any]:
        return {}


class Application(Celery):
    """Celery as the service's settings have it. For itself it lets variables such as `CELERY_BROKER_URL` go first.

    A machine may have them for other programs.
    """

    backend_cls = "disabled"  # no results are kept, whatever CELERY_RESULT_BACKEND says

    @override
    def connection_for_read(self, url: str | None = None, **options: Any) -> Connection:
        return super().connection_for_read(url or self._broker_url(), **options)

    @override
    def connection_for_write(self, url: str | None = None, **options: Any) -> Connection:
        return super().connection_for_write(url or self._broker_url(), **options)

    def _broker_url(self) -> Any:
        return self.conf.first("broker_url")


def make_application(settings: Settings) -> Celery:
    """The application. It connects to nothing yet, and is nobody's current one."""
    return Application("mailer", set_as_current=False, loader=NothingElse, changes=configuration(settings))


def queue_of(settings: Settings) -> Queue:
    """The queue, reached through the broker's default exchange, which nobody can delete."""
    name = settings.broker_queue
    return Queue(name, Exchange(""), routing_key=name, queue_arguments=broker.queue_arguments(settings))


def configuration(settings: Settings) -> dict[str, Any]:
    """All of Celery's settings that are not its defaults."""
    return {**_connections(settings), **_messages(settings), **_worker(settings)}


def _connections(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": settings.broker_url,
        "broker_transport_options": broker.transport_options(settings),
        "broker_connection_timeout": broker.ANSWER_SECONDS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # for as long as it takes
        "broker_channel_error_retry": True,  # a queue that was deleted is declared again
        "broker_heartbeat": 20,
        "broker_use_ssl": broker.encryption(settings),
    }


def _messages(settings: Settings) -> dict[str, Any]:
    return {
        "task_queues": [queue_of(settings)],
        "task_default_queue": settings.broker_queue,
        "task_default_exchange": "",
        "task_default_routing_key": settings.broker_queue,
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_publish_retry": False,
    }


def _worker(settings: Settings) -> dict[str, Any]:
    return {
        "worker_concurrency": settings.workers,
        "worker_prefetch_multiplier": 1,
        "worker_consumer": "mailer.engines.celery.worker:DoorbellConsumer",
        "worker_enable_remote_control": False,
        "worker_enable_prefetch_count_reduction": False,  # a slice that is running says nothing about its message
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_disable_rate_limits": True,
    }
