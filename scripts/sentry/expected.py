"""What a server of Sentry's protocol must hold after causes.py."""

import json
import time

# How long the delivery may take on a busy machine, on which reading the symbols of a stack takes seconds.
PATIENCE = 30


def wait_and_check(server, read, request_ids):
    """Waits until a server holds all events, and checks them. `read` returns the events, each with its issue if the server groups them.
    Returns all events, transactions too."""
    end = time.monotonic() + PATIENCE
    wanted = {*request_ids["failed"], *request_ids["panicked"]}
    while True:
        events = read()
        errors = [event for event in events if "exception" in event]
        if wanted <= {tags(event).get("request_id") for event in errors} or time.monotonic() > end:
            break
        time.sleep(0.2)
    check(server, errors, request_ids)
    return events


def check(server, events, request_ids):
    failed = of_requests(events, "Failed request", request_ids["failed"])
    panics = of_requests(events, "Panic", request_ids["panicked"])
    assert {event["transaction"] for event in failed} == {"/api/v1/auth/login"}, f"{server}: {failed}"
    by_route = {}
    for event in panics:
        by_route.setdefault(event["transaction"], []).append(event)
    assert by_route.keys() <= {"/api/v1/health", "unmatched"}, f"{server}: {panics}"
    groups = [failed, *by_route.values()]
    for group in groups:
        assert len({json.dumps(event["fingerprint"]) for event in group}) == 1, f"{server}: one cause has several fingerprints"
        assert len({event.get("issue") for event in group}) == 1, f"{server}: one cause is several issues"
    assert len({json.dumps(group[0]["fingerprint"]) for group in groups}) == len(groups), f"{server}: two causes are one group"
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
        f"{server} holds {len(failed)} failed requests and {len(panics)} panics in {len(groups)} groups, with release, request id and "
        f"trace id; a panic came from {innermost['function']} at {innermost['filename']}:{innermost['lineno']}"
    )


def of_requests(events, kind, request_ids):
    """The events of a kind, which must be those of these requests."""
    found = [event for event in events if event["exception"]["values"][0]["type"] == kind and tags(event).get("request_id") in request_ids]
    assert sorted(tags(event)["request_id"] for event in found) == sorted(request_ids), f"{kind}: {found}"
    return found


def tags(event):
    """The tags, which may be an object or a list of pairs."""
    return dict(event["tags"])
