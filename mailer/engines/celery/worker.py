"""The worker: Celery's consumer in the parent, prefork children that deliver, and a process for scheduled tasks.

A signal of the parent sets a flag in memory that all its processes share. Children ask for it at each checkpoint, so a
worker that is told to end does so within a checkpoint, and not at the end of a slice.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from typing import Any

from billiard import util as billiard
from celery import Celery, bootsteps, signals
from celery.apps import worker as handlers
from celery.worker import WorkController, state
from celery.worker.consumer import Consumer

from mailer.engines.base import EngineParts
from mailer.engines.celery.application import TASK, make_application
from mailer.engines.celery.child import Child
from mailer.engines.celery.doorbell import Ringer
from mailer.engines.celery.task_process import TaskProcess
from mailer.logs.configuration import adopt

log = logging.getLogger(__name__)

TASKS_LOOK_SECONDS = 2.0
WITHOUT = dict.fromkeys(("without_gossip", "without_mingle", "without_heartbeat"), True)


def run(parts: EngineParts, ring_by: Callable[[Ringer], None]) -> str | None:
    """Run a worker in this process until SIGTERM or SIGINT; return in words what was wrong, None: nothing.

    `ring_by` is called in the process for scheduled tasks, with what rings when new work is announced there.

    The first of these signals ends it after the checkpoints in hand. SIGQUIT, or SIGINT again, is Celery's cold
    shutdown: it gives up what is running, and leases bring it back.
    """
    told = SharedFlag()
    application = make_application(parts.settings)
    child = Child(parts, application, told.is_set)
    tasks = TaskProcess(parts, application, told.is_set, ring_by)
    _quiet()
    _connect_signals(child, told)
    parts.db.close()  # what the start has opened; the processes open connections of their own
    controller = make_controller(application, child.answer, pool="prefork", tasks=tasks)
    for install in (
        handlers.install_worker_term_handler,
        handlers.install_worker_int_handler,
        handlers.install_worker_term_hard_handler,
    ):
        install(controller, verbose=False)  # it would write past the log
    controller.start()
    told.set()
    tasks.join()
    return _words(controller)


def make_controller(
    application: Celery, answer: Callable[[], None], *, pool: Any, tasks: TaskProcess | None = None
) -> Any:
    """Celery's worker, which calls `answer` in its pool for each message."""
    application.task(name=TASK, shared=False)(answer)
    if tasks is not None:
        application.steps["worker"].add(type("TasksStep", (_TasksStep,), {"tasks": tasks}))
    return WorkController(app=application, pool_cls=pool, optimization="fair", **WITHOUT)


class _TasksStep(bootsteps.StartStopStep):
    """Keeps the process for scheduled tasks alive."""

    requires = ("celery.worker.components:Timer",)
    tasks: TaskProcess

    def start(self, controller: Any) -> None:
        """Start it, and look after it from then on."""
        self.tasks.keep_running()
        controller.timer.call_repeatedly(TASKS_LOOK_SECONDS, self.tasks.keep_running)


class DoorbellConsumer(Consumer):
    """Celery's consumer without what nobody needs here: it takes messages and nothing else.

    There are no messages for later, so the 56 queues and exchanges are not declared by which RabbitMQ would delay them.
    Workers send no events, listen to no commands and do not look for each other: the database is what they share.
    """

    class Blueprint(Consumer.Blueprint):
        """The steps that are left; they bring those that they need themselves, which are switched off."""

        default_steps = (
            "celery.worker.consumer.connection:Connection",
            "celery.worker.consumer.tasks:Tasks",
            "celery.worker.consumer.consumer:Evloop",
        )

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], object]:
        """As Celery has it, but that a message which cannot be acknowledged ends the connection, and begins another.

        Celery logs it and goes on. On Redis the message then counts as one in hand for ever. Nothing else on that
        connection tells that the broker was away, so that a worker with its hands full would wait for ever.
        """
        handle, connection = super().create_task_handler(*args, **options), self.connection

        def settling(settle: Callable[..., object]) -> Callable[..., None]:
            def tried(_logger: logging.Logger, errors: tuple[type[Exception], ...], **how: Any) -> None:
                try:
                    settle(**how)
                except errors as error:
                    if self.connection is connection:
                        raise
                    log.info("a message of the connection before is left to its broker: %s", type(error).__name__)

            return tried

        def on_message(message: Any) -> object:
            message.ack_log_error, message.reject_log_error = settling(message.ack), settling(message.reject)
            return handle(message)

        return on_message


class SharedFlag:
    """A flag in memory that a process shares with all that are forked from it. A signal handler may set it."""

    def __init__(self) -> None:
        self._value = multiprocessing.get_context("fork").RawValue("b", 0)

    def set(self) -> None:
        """Set it, for all processes and for good."""
        self._value.value = 1

    def is_set(self) -> bool:
        """Whether some process has set it."""
        return bool(self._value.value)


def _connect_signals(child: Child, told: SharedFlag) -> None:
    def tell(**_signal: Any) -> None:
        told.set()

    def leave_logging_alone(**_signal: Any) -> None:
        """Be a receiver: where there is one, Celery sets up no log of its own."""

    signals.worker_process_init.connect(child.begin, weak=False)
    signals.worker_process_shutdown.connect(child.end, weak=False)
    signals.worker_shutting_down.connect(tell, weak=False)
    signals.setup_logging.connect(leave_logging_alone, weak=False)


def _quiet() -> None:
    """Log no line for each message, which is no event: what it led to is logged elsewhere; all else as other lines."""
    multiprocessing_log = billiard.get_logger()  # it makes the logger, and keeps it apart from all others
    for name in ("celery.app.trace", "celery.worker.strategy", multiprocessing_log.name):
        logging.getLogger(name).setLevel(logging.WARNING)
    adopt(multiprocessing_log.name)


def _words(controller: Any) -> str | None:
    if state.should_terminate:
        return "ended before the checkpoints in hand; their leases will run out"
    return None if state.should_stop is not None else f"the worker ended with {controller.exitcode}; see the log"
