"""What Prometheus is told of the service. Nothing here is imported unless `MAILER_METRICS` is set."""
