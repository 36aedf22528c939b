"""A stand-alone mass mailer that speaks Rocket.Chat's `POST /api/v1/mailer`."""
