"""Holds rendered objects against Kubernetes's schemas, the restricted profile, and each other."""

import pathlib

import kubernetes_validate
import yaml

# The oldest version that the chart allows, one between, and the newest that is known here.
KUBERNETES = ("1.30", "1.34", "1.37")
# Kinds of the Prometheus operator, for which Kubernetes has no schema.
OTHERS = ("ServiceMonitor", "PrometheusRule")


def check(objects: list[dict], repository: pathlib.Path) -> list[str]:
    problems = []
    for item in objects:
        name = f"{item['kind']} {item['metadata']['name']}"
        if item["kind"] not in OTHERS:
            problems += [f"{name}: {problem}" for problem in schema_problems(item)]
        template = item["spec"]["template"] if item["kind"] in ("Deployment", "Job") else None
        if template:
            problems += [f"{name}: {problem}" for problem in restricted_problems(template["spec"])]
    return problems + relations(objects) + rules(objects, repository)


def schema_problems(item: dict) -> list[str]:
    problems = []
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            problems.append(f"Kubernetes {version}: {path}: {error.message}")
    return problems


def restricted_problems(pod: dict) -> list[str]:
    """The rules of the restricted Pod Security Standard that a pod of ours can break."""
    problems = []
    whole = pod.get("securityContext", {})
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            problems.append(f"restricted: {key}")
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for volume in pod.get("volumes", []):
        if not (volume.keys() - {"name"}) <= allowed:
            problems.append(f"restricted: the volume {volume['name']}")
    for container in pod["containers"] + pod.get("initContainers", []):
        own = container.get("securityContext", {})
        capabilities = own.get("capabilities", {})
        expectations = {
            "allowPrivilegeEscalation is false": own.get("allowPrivilegeEscalation") is False,
            "privileged is false": not own.get("privileged"),
            "all capabilities are dropped": "ALL" in capabilities.get("drop", []) and not capabilities.get("add"),
            "runAsNonRoot is true": own.get("runAsNonRoot", whole.get("runAsNonRoot")) is True,
            "runAsUser is not 0": own.get("runAsUser", whole.get("runAsUser")) not in (0, None),
            "a seccomp profile is set": own.get("seccompProfile", whole.get("seccompProfile", {})).get("type") == "RuntimeDefault",
            "no port of the host is used": not any(port.get("hostPort") for port in container.get("ports", [])),
            # Beyond the profile.
            "the root is read-only": own.get("readOnlyRootFilesystem") is True,
        }
        problems += [f"restricted: not so: {rule}" for rule, kept in expectations.items() if not kept]
    return problems


def relations(objects: list[dict]) -> list[str]:
    """What names another object names one that is there."""
    by_kind = {}
    for item in objects:
        by_kind.setdefault(item["kind"], []).append(item)
    (deployment,) = by_kind["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    problems = []

    def selects(selector: dict, target: dict) -> bool:
        return bool(selector) and selector.items() <= target.items()

    selectors = [(item, item["spec"]["selector"]) for item in by_kind["Service"]]
    selectors += [(item, item["spec"]["selector"]["matchLabels"]) for item in by_kind.get("PodDisruptionBudget", [])]
    # The migration has a policy of its own.
    policies = [item for item in by_kind.get("NetworkPolicy", []) if not item["metadata"]["name"].endswith("-migrate")]
    selectors += [(item, item["spec"]["podSelector"]["matchLabels"]) for item in policies]
    for item, selector in selectors:
        if not selects(selector, labels):
            problems.append(f"{item['kind']} {item['metadata']['name']} does not select the gateway's pods")
        for job in by_kind.get("Job", []):
            if selects(selector, job["spec"]["template"]["metadata"]["labels"]):
                problems.append(f"{item['kind']} {item['metadata']['name']} selects the pod of the migration")
    for service in by_kind["Service"]:
        problems += [
            f"Service {service['metadata']['name']}: no port {port['targetPort']}"
            for port in service["spec"]["ports"]
            if port["targetPort"] not in ports
        ]
    for monitor in by_kind.get("ServiceMonitor", []):
        found = [
            service
            for service in by_kind["Service"]
            if selects(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
        ]
        if [port["name"] for service in found for port in service["spec"]["ports"]] != ["metrics"]:
            problems.append("the ServiceMonitor does not select the metrics' port alone")
    pod = deployment["spec"]["template"]["spec"]
    stop = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain = next(v["value"] for v in pod["containers"][0]["env"] if v["name"] == "PORTCULLIS__SERVER__DRAIN_TIMEOUT")
    if pod["terminationGracePeriodSeconds"] < stop + int(drain.removesuffix("s")) + 10:
        problems.append("the grace period is shorter than the drain")
    if by_kind.get("HorizontalPodAutoscaler") and "replicas" in deployment["spec"]:
        problems.append("the Deployment and the autoscaler both set the number of replicas")
    return problems


def rules(objects: list[dict], repository: pathlib.Path) -> list[str]:
    """The PrometheusRule has the rules of deploy/prometheus, unchanged."""
    expected = []
    for name in ("recording.yml", "alerts.yml"):
        expected += yaml.safe_load((repository / "deploy/prometheus" / name).read_text())["groups"]
    return [
        "the PrometheusRule differs from deploy/prometheus"
        for item in objects
        if item["kind"] == "PrometheusRule" and item["spec"]["groups"] != expected
    ]
