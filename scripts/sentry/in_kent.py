"""Reads kent's events over its API and checks them. The argument is its port."""

import http.client
import json
import sys

from expected import wait_and_check


def get(path):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
    connection.request("GET", path)
    return json.load(connection.getresponse())


def events():
    return [get(f"/api/event/{event['event_id']}")["payload"]["body"] for event in get("/api/eventlist/")["events"]]


with open("request_ids.json", encoding="utf-8") as file:
    ids = json.load(file)[1]
transactions = [event for event in wait_and_check("kent", events, ids) if "start_timestamp" in event]
of_failed = [event for event in transactions if event["tags"]["request_id"] in ids["failed"]]
assert len(of_failed) == 3, f"kent: {transactions}"
for event in of_failed:
    assert (event["transaction"], event["contexts"]["trace"]["status"]) == ("/api/v1/auth/login", "internal_error"), event
print("kent holds the failed requests as transactions too")
