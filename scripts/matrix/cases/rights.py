"""What reaches the application: no forged identity, and no method that the rights did not allow."""

import json

from http_client import Cut, once

FORGED = "forged"
SEPARATORS = "-_~.!#$%&'*+^`|"
IDENTITY = ["User", "Role", "Session", "Permissions", "Api-Key", "Scopes"]
# Fields that no client may set for an application: httpoxy, and the paths that some frameworks route by.
OTHERS = ["Proxy", "X-Original-URL", "X-Rewrite-URL", "X_Original_URL", "X~Rewrite~URL", "Pr_oxy"]
OVERRIDES = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override", "X~Method~Override", "X.HTTP.Method"]


def folded(name):
    """A name as the loosest of the servers compares it: letters and digits only, without CGI's HTTP_ in front."""
    name = name.upper()
    name = name[5:] if name.startswith("HTTP_") else name
    return "".join(character for character in name.lower() if character.isalnum())


async def identity(tally, gateway, server):
    """Forged identity headers with every separator that a field name may have, anonymous and signed in."""
    forged = [(f"X{s}Portcullis{s}{name.replace('-', s)}", FORGED) for s in SEPARATORS for name in IDENTITY]
    forged += [(f"x-portcullis_{name}", FORGED) for name in IDENTITY] + [("xPortcullisUser", FORGED)]
    forged += [(name, f"/{FORGED}") for name in OTHERS]
    credential = await gateway.sign_in()
    anonymous = await inspect(tally, gateway, server, "open", "GET", forged[:90])
    tally.check(not anonymous or not identities(anonymous), "an anonymous request has identity fields")
    await inspect(tally, gateway, server, "open", "GET", forged[90:])
    seen = await inspect(tally, gateway, server, "user", "GET", [credential, *forged[:85]])
    names = {name for name, _ in identities(seen)} if seen else set()
    tally.check({"xportcullisuser", "xportcullisrole", "xportcullissession"} <= names, f"the application misses the identity: {sorted(names)}")
    await inspect(tally, gateway, server, "user", "GET", [credential, *forged[85:]])


def identities(seen):
    return [(folded(name), value) for name, value in seen["headers"] if folded(name).startswith("xportcullis")]


async def inspect(tally, gateway, server, route, method, headers):
    """Sends a request and checks that no forged value reached the application. Returns what it saw, or None."""
    response = await once(gateway.address, method, gateway.path(server, route, "/inspect"), headers)
    if not tally.expect(response, 200, note=f"{method} {route}"):
        return None
    seen = json.loads(response.body)
    reached = {name for name, value in seen["headers"] if FORGED in value}
    names = ", ".join(sorted({folded(name) for name in reached}))
    tally.check(not reached, f"the application sees forged fields, such as {min(reached, default='')}: {names}")
    names = [name for name, _ in identities(seen)]
    tally.check(len(names) == len(set(names)), "the application sees an identity field twice")
    return seen


async def methods(tally, gateway, server):
    """A user who may PATCH and not POST tries to POST: by other spellings, by headers that override the method."""
    credential = await gateway.sign_in()
    target = gateway.path(server, "rights", "/inspect")
    for method in ["post", "Post", "pOST", "pOst", "PoST", "patch", "TRACE", "PROPFIND"]:
        await refused(tally, gateway, method, target, [credential], 405)
    for method in ["POST", "PUT", "DELETE"]:
        await refused(tally, gateway, method, target, [credential], 403)
    for method in ["post", "TRACE", "get", "PROPFIND"]:
        await refused(tally, gateway, method, gateway.path(server, "open", "/inspect"), [], 405)
    for name in OVERRIDES:
        for method in ["PATCH", "GET"]:
            response = await once(gateway.address, method, target, [credential, (name, "POST")], b"{}" if method == "PATCH" else None)
            if tally.expect(response, 200, note=f"{method} with {name}"):
                seen = json.loads(response.body)
                tally.check(seen["method"] == method, f"{method} with {name} is {seen['method']} to the application")
                reached = [field for field, _ in seen["headers"] if folded(field) == folded(name)]
                tally.check(not reached, f"the application sees {name}")


async def refused(tally, gateway, method, target, headers, status):
    """Sends a request that must be refused by the gateway, in its envelope."""
    try:
        response = await once(gateway.address, method, target, headers, b"" if method.upper() in ("POST", "PUT", "PATCH") else None)
    except Cut as error:
        tally.failed(error, method)
        return
    if tally.expect(response, status, note=method):
        tally.check(b'"success":false' in response.body, f"the refusal of {method} is not the gateway's")
