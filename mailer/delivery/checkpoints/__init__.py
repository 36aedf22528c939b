"""How a batch is taken, what a checkpoint asks and what it writes: a short way each, beside a careful one."""
