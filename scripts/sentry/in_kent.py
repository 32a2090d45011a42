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
    wait_and_check("kent", events, json.load(file)[1])
