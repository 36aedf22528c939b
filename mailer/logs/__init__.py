"""The logs: how they are written, what each line is about, and what must never stand in one.

Every module writes to the standard library's loggers, and knows nothing of this room but the ids that it binds. Only
`configuration` sets anything up, and only when a program that runs the service calls it.
"""
