"""Wrong values are refused, by a message that names the value."""

import copy
import pathlib

import helm_python
import yaml

# What is changed in the values of ci/minimal-values.yaml (None removes), and what the message must contain.
CASES = [
    ({"publicUrl": None}, ["publicUrl"]),
    ({"publicUrl": "gate.example"}, ["/publicUrl", "pattern"]),
    ({"publicUrl": "https://gate.example/path"}, ["/publicUrl", "pattern"]),
    ({"secrets": None}, ["secrets"]),
    ({"secrets": {}}, ["existingSecret"]),
    ({"secrets": {"existingSecret": ""}}, ["/secrets/existingSecret", "minLength"]),
    ({"secrets": {"existingSecret": "portcullis", "csi": {"driver": "x"}}}, ["/secrets/existingSecret"]),
    ({"secrets": {"existingSecret": "portcullis", "keys": {"CSRF_SECRT": "x"}}}, ["CSRF_SECRT"]),
    ({"secrets": {"existingSecret": "portcullis", "keys": {"CSRF_SECRET": None}}}, ["CSRF_SECRET"]),
    ({"secrets": {"existingSecret": "portcullis", "keys": {"CSRF_SECRET": "../../etc/passwd"}}}, ["/secrets/keys/CSRF_SECRET"]),
    ({"replica": 3}, ["replica"]),
    ({"replicas": "three"}, ["/replicas", "integer"]),
    ({"replicas": 0}, ["/replicas"]),
    ({"settings": {"server": {}}}, ["/settings", "string"]),
    ({"env": {"ENCRYPTION_KEY": "visible to everybody who may read pods"}}, ["ENCRYPTION_KEY"]),
    ({"env": {"PORT": "9000"}}, ["PORT"]),
    ({"env": {"SOME_FLAG": True}}, ["/env/SOME_FLAG", "string"]),
    ({"migration": {"by": "hand"}}, ["/migration/by", "start"]),
    ({"image": {"digest": "sha256:abc"}}, ["/image/digest"]),
    ({"metrics": {"port": 8000}}, ["/metrics/port"]),
    ({"resources": {"limit": {"memory": "1Gi"}}}, ["limit"]),
    ({"trustedProxies": ["load-balancer"]}, ["/trustedProxies/0"]),
]


def check(chart: pathlib.Path) -> list[str]:
    good = yaml.safe_load((chart / "ci/minimal-values.yaml").read_text())
    problems = []
    with helm_python.Chart.load(chart) as loaded:
        for changes, expected in CASES:
            values = {**copy.deepcopy(good), **changes}
            values = {key: value for key, value in values.items() if value is not None}
            try:
                loaded.render(values, name="portcullis", namespace="gate")
            except helm_python.HelmError as error:
                message = str(error)
                problems += [
                    f"the refusal of {changes} does not name {part}: {message}" for part in expected if part not in message
                ]
            else:
                problems.append(f"{changes} is accepted")
    print(f"wrong values: {len(CASES)} refused")
    return problems
