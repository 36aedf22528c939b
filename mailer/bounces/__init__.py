"""What comes back after a message was sent: bounces, complaints, and unsubscriptions by mail."""
