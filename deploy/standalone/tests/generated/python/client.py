"""Uses the clients that openapi-python-client makes of both documents: API CONSOLE KEY."""

import sys
import time

from whence_console_client import AuthenticatedClient as Reader
from whence_console_client.api.people import status
from whence_console_client.api.reports import top_referrers
from whence_events_api_client import AuthenticatedClient
from whence_events_api_client.api.events import send, send_batch
from whence_events_api_client.api.links import create_links, show_link
from whence_events_api_client.models import (
    Currency,
    EventAccepted,
    EventOutcomes,
    Lead,
    LeadType,
    Link,
    LinkCreate,
    Money,
    Problem,
    Qualification,
    QualificationType,
)

# More than 32 bits.
MINOR = 5_000_000_000

api_url, console_url, key = sys.argv[1:4]
client = AuthenticatedClient(base_url=api_url, token=key)

link = LinkCreate(
    host="go.example",
    code="from-python",
    referrer="ann",
    channel="email",
    destination="https://shop.example/python",
)
create_links.sync("p", client=client, body=link)
shown = show_link.sync("p", "go.example", "from-python", client=client)
assert isinstance(shown, Link) and shown.referrer == "ann" and shown.channel == "email", shown

lead = Lead(type_=LeadType.LEAD, program="p", id="lead of python", lead="python", code="from-python")
answer = send.sync(client=client, body=lead)
assert isinstance(answer, EventAccepted), answer
order = Qualification(
    type_=QualificationType.QUALIFICATION,
    program="p",
    id="order of python",
    name="purchase",
    lead="python",
    value=Money(currency=Currency.EUR, minor=MINOR),
)
outcomes = send_batch.sync(client=client, body=[order, lead])
assert isinstance(outcomes, EventOutcomes) and outcomes.accepted == 2, outcomes
refused = send.sync(client=client, body=Lead(type_=LeadType.LEAD, program="p", id="nobody's"))
assert isinstance(refused, Problem) and refused.status == 422, refused

reader = Reader(base_url=console_url, token=key)
deadline = time.monotonic() + 240
while True:
    page = status.sync("p", client=reader, referrer="ann")
    found = [item for item in page.items if item.lead == "python"]
    if found and found[0].value_minor.to_dict().get("EUR") == MINOR:
        break
    assert time.monotonic() < deadline, page
    time.sleep(0.1)
assert top_referrers.sync("p", client=reader) is not None
print("python: sent and read back")
