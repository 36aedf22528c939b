"""What schemathesis is told by `SCHEMATHESIS_HOOKS`: a stream of JSON is sent as text."""

import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
