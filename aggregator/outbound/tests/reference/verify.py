"""Verifies webhooks by the reference library: one JSON object a line on standard input.

{"headers": {…}, "body": "…", "secrets": ["whsec_…"], "others": ["whsec_…"]}: each of `secrets` must verify it, and
none of `others`; nor may any verify it with another body, id or time, or once it is old.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

FORGED_AT = "webhook-timestamp"


def is_verified(secret, body, headers):
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


verified = 0
for line in sys.stdin:
    received = json.loads(line)
    headers, body = received["headers"], received["body"]
    for secret in received["secrets"]:
        assert is_verified(secret, body, headers), "a message is not signed as it should be"
        assert Webhook(secret).verify(body, headers) == json.loads(body)
        sent_at = int(headers[FORGED_AT])
        for name, value in [("webhook-id", "msg_0"), (FORGED_AT, str(sent_at + 1)), (FORGED_AT, str(sent_at - 600))]:
            assert not is_verified(secret, body, headers | {name: value}), f"another {name} is taken"
        assert not is_verified(secret, body.replace('"', "'", 1), headers), "another body is taken"
    for secret in received["others"]:
        assert not is_verified(secret, body, headers), "a secret is taken that did not sign"
    verified += 1
print(f"{verified} messages verified")
