"""What a server of Sentry's protocol must hold after causes.py."""

import json
import time

# How long the delivery may take on a busy machine, on which reading the symbols of a stack takes seconds.
PATIENCE = 30


def wait_and_check(server, read, request_ids):
    """Waits until a server holds all events, and checks them. `read` returns the events, each with its issue if the server groups them."""
    end = time.monotonic() + PATIENCE
    wanted = {*request_ids["failed"], *request_ids["panicked"]}
    while True:
        events = read()
        if wanted <= {tags(event).get("request_id") for event in events} or time.monotonic() > end:
            break
        time.sleep(0.2)
    check(server, events, request_ids)


def check(server, events, request_ids):
    failed = of_route(events, "Failed request", "/api/v1/auth/login")
    panics = of_route(events, "Panic", "/api/v1/health")
    assert sorted(tags(event)["request_id"] for event in failed) == sorted(request_ids["failed"]), f"{server}: {failed}"
    assert sorted(tags(event)["request_id"] for event in panics) == sorted(request_ids["panicked"]), f"{server}: {panics}"
    for group in (failed, panics):
        assert len({json.dumps(event["fingerprint"]) for event in group}) == 1, f"{server}: one cause has several fingerprints"
        assert len({event.get("issue") for event in group}) == 1, f"{server}: one cause is several issues"
    assert failed[0]["fingerprint"] != panics[0]["fingerprint"]
    for event in failed + panics:
        assert (event["release"], event["environment"]) == ("gate-7", "staging"), f"{server}: {event}"
        assert len(event["contexts"]["trace"]["trace_id"]) == 32, f"{server}: no trace id"
        assert "planted" not in json.dumps(event), f"{server}: an event holds what a client sent: {event}"
    for event in panics:
        frames = event["exception"]["values"][0]["stacktrace"]["frames"]
        ours = [frame for frame in frames if frame.get("in_app") and frame.get("lineno")]
        assert ours, f"{server}: no frame of the gateway has a line: {frames}"
        assert event["debug_meta"]["images"], f"{server}: no debug image"
    innermost = ours[-1]
    print(
        f"{server} holds {len(failed)} failed requests and {len(panics)} panics, each kind as one group, with release, request id and "
        f"trace id; a panic came from {innermost['function']} at {innermost['filename']}:{innermost['lineno']}"
    )


def of_route(events, kind, route):
    return [event for event in events if event["exception"]["values"][0]["type"] == kind and event.get("transaction") == route]


def tags(event):
    """The tags, which may be an object or a list of pairs."""
    return dict(event["tags"])
