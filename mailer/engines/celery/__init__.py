"""The engine over Celery: a broker, RabbitMQ or Redis, is the doorbell of workers on many machines.

A message says that there is work, and nothing else. Whoever gets it makes the same claim on the database as the local
engine. So a message that is late, lost, doubled or out of order costs time, and no mail.

`engine` is the web's half: it rings. `worker` is the other half: a parent process with Celery's consumer, its children
(`child`), and a process beside them for the rest (`task_process`). There `sweep` rings for what nobody announced.
"""
