"""Run in the shell of bugsink: reads its events from its database and checks them."""

import json

from events.models import Event
from expected import wait_and_check

with open("request_ids.json", encoding="utf-8") as file:
    ids = json.load(file)[0]
wait_and_check("bugsink", lambda: [{**event.get_parsed_data(), "issue": str(event.issue_id)} for event in Event.objects.all()], ids)
