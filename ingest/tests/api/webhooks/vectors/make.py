#!/usr/bin/env python3
"""Makes vectors.json: webhook signatures by the providers' own libraries.

    python3 -m venv venv && venv/bin/pip install stripe==16.1.0 hubspot-api-client==12.0.0 standardwebhooks==1.1.0
    venv/bin/python make.py > vectors.json

The vectors are kept beside this script because the libraries together are larger than whence. Secrets and
bodies are made up. Shopify and Intercom have no library that signs; theirs are what their documentation says,
computed by Python's own hmac, as an implementation that shares no code with whence.
"""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timezone

import hubspot.utils.signature
import standardwebhooks
import stripe

NOW = 1_800_000_000
BODY = json.dumps({"id": "evt_1", "type": "checkout.session.completed", "name": "Zoë"}, ensure_ascii=False)
URI = "https://api.example/v1/webhooks/demo/crm?a=b@c"


def stripe_header(secret, at):
    return stripe.WebhookSignature.generate_signature_header(BODY, secret, at)


def hubspot_signature(version, secret, at):
    return hubspot.utils.signature.Signature.get_signature(
        client_secret=secret,
        request_body=BODY,
        signature_version=version,
        http_uri=URI,
        http_method="POST",
        timestamp=str(at * 1000),
    )


def standard_signature(secret, at):
    # The library reads a naive time as UTC.
    time = datetime.fromtimestamp(at, tz=timezone.utc)
    return standardwebhooks.Webhook(secret).sign("msg_1", time, BODY)


def plain(digest, secret):
    return hmac.new(secret.encode(), BODY.encode(), digest).digest()


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
vectors = {
    "now_s": NOW,
    "secret": SECRET,
    "body": BODY,
    "uri": URI.replace("@", "%40"),
    "vectors": [
        {"provider": "stripe", "headers": {"stripe-signature": stripe_header(SECRET, NOW)}},
        {
            "provider": "hubspot",
            "headers": {
                "x-hubspot-signature-v3": hubspot_signature("v3", SECRET, NOW),
                "x-hubspot-request-timestamp": str(NOW * 1000),
            },
        },
        {
            "provider": "hubspot",
            "headers": {
                "x-hubspot-signature": hubspot_signature("v1", SECRET, NOW),
                "x-hubspot-signature-version": "v1",
            },
            "timeless": True,
        },
        {
            "provider": "standard_webhooks",
            "headers": {
                "webhook-id": "msg_1",
                "webhook-timestamp": str(NOW),
                "webhook-signature": standard_signature(SECRET, NOW),
            },
        },
        {
            "provider": "shopify",
            "headers": {"x-shopify-hmac-sha256": base64.b64encode(plain(hashlib.sha256, SECRET)).decode()},
            "timeless": True,
        },
        {
            "provider": "intercom",
            "headers": {"x-hub-signature": "sha1=" + plain(hashlib.sha1, SECRET).hex()},
            "timeless": True,
        },
        {
            "provider": "generic",
            "headers": {"x-signature": "sha256=" + plain(hashlib.sha256, SECRET).hex()},
            "timeless": True,
        },
    ],
}
print(json.dumps(vectors, indent=2, ensure_ascii=False))
