"""Verifies a delivery as its receiver would, with code that is not ours.

Reads {"secrets": [...], "headers": {...}, "body": "..."} and prints which secrets fit, by the library of Standard Webhooks and by the
steps of Kallglot-Signature, for the body as it came and for one that was tampered with.
"""

import hashlib
import hmac
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def standard(secret, headers, body):
    try:
        Webhook(secret).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


def kallglot(secret, headers, body):
    parts = [part.split("=", 1) for part in headers["kallglot-signature"].split(",")]
    timestamp = next(value for name, value in parts if name == "t")
    signed = f"{timestamp}.{body}".encode()
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return any(name == "v1" and hmac.compare_digest(value, expected) for name, value in parts)


given = json.load(sys.stdin)
tampered = given["body"].replace("sample", "simple")
print(json.dumps({
    "standard": [standard(secret, given["headers"], given["body"]) for secret in given["secrets"]],
    "kallglot": [kallglot(secret, given["headers"], given["body"]) for secret in given["secrets"]],
    "tampered": any(
        check(secret, given["headers"], tampered) for secret in given["secrets"] for check in (standard, kallglot)
    ),
}))
