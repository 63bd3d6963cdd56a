"""What schemathesis has to know of the API that the OpenAPI document can't say."""

import itertools
import os
import time

import schemathesis
from schemathesis.generation import GenerationMode

# What the server refuses though the schema allows it, by operation: the parameters that may be at fault, and why.
REFUSED = {
    # Not every mode, route and recording works on every server; two parties need two languages.
    "createSession": {
        "mode", "target_language", "recording.enabled", "routing.phone_number", "routing.connection_id", "routing.type",
        "provider.type",
    },
    # A time in the past.
    "createApiKey": {"expires_at"},
    "updateApiKey": {"expires_at"},
    # A key that was revoked before.
    "rotateApiKey": {"id"},
    # A page lies on one side of one cursor.
    "listSessions": {"starting_after", "ending_before"},
    "listApiKeys": {"starting_after", "ending_before"},
    "listAuditLog": {"starting_after", "ending_before"},
}

# The key that all requests are made with: it must not be changed or revoked.
KEY, KEY_ID = os.environ["FUZZ_KEY"], os.environ["FUZZ_KEY_ID"]

_numbers = itertools.count()
_run = f"{os.getpid()}-{int(time.time())}"


def is_valid(case):
    """Whether the request fits its schema."""
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Makes of a generated request one that can come from a client who reads the document."""
    # The document's example of an idempotency key can stand for one request only.
    if case.headers.get("Idempotency-Key") == "order-17":
        case.headers["Idempotency-Key"] = f"order-{_run}-{next(_numbers)}"
    # A document describes the answers of one edition. Edition 2 is the default: without the header, or with one that names no
    # edition, the answer is its.
    if (edition := case.operation.schema.raw_schema["info"]["version"]) == "1" or case.headers.get("Kallglot-Edition") == "1":
        case.headers["Kallglot-Edition"] = edition
    # See REFUSED: so that most requests are let through.
    if is_valid(case) and "starting_after" in case.query:
        case.query.pop("ending_before", None)
    # From another address each time (`run` has the server believe it), or wrong keys would soon be throttled.
    number = next(_numbers)
    case.headers["X-Forwarded-For"] = f"198.18.{number // 250 % 250}.{number % 250}"
    if case.method != "GET" and case.path_parameters.get("id") == KEY_ID:
        case.path_parameters["id"] = "key_0000000000000000000000"
    if isinstance(case.body, dict) and case.body.get("secret") == KEY:
        case.body["secret"] = "sk_live_000000000000000000000000000000000000"


@schemathesis.check
def refused_only_for_what_no_schema_says(ctx, response, case):
    """A request that fits its schema is refused with 400 or 422 only for a reason that is written down above."""
    if not is_valid(case) or response.status_code not in (400, 413, 415, 422):
        return
    error = response.json()["error"]
    operation = case.operation.definition.raw.get("operationId")
    if error["code"] == "idempotency_mismatch":
        # A key that was made up twice.
        return
    if operation == "connectSession":
        # Schemathesis sends no WebSocket handshake, and tokens in several places.
        return
    allowed = REFUSED.get(operation, set())
    assert error["param"] in allowed, f"{operation} refused what its schema allows: {error['message']}"
