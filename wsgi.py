"""What gunicorn serves: `gunicorn wsgi:app`."""

import sys

from app import create_app
from mailer.errors import ConfigError

try:
    app = create_app()
except ConfigError as error:
    sys.exit(f"mailer: {error}")
