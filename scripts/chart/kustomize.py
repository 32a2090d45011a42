"""Writes deploy/kustomize/base from the chart, or sees that it is what the chart gives."""

import copy
import pathlib
import subprocess
import sys

import yaml

import manifests
import rendering

HEAD = "# Made from deploy/helm/portcullis by `scripts/chart.sh --write`; a test compares them. Change the chart, or your overlay.\n"
# Labels and annotations that mean something to Helm only. The name of a generated ConfigMap changes with its contents, so the
# checksum of the settings is not needed either.
HELMS = ("helm.sh/chart", "app.kubernetes.io/managed-by", "checksum/settings")


def check(repository: pathlib.Path, chart: pathlib.Path, write: bool) -> list[str]:
    folder = repository / "deploy/kustomize/base"
    values = yaml.safe_load((repository / "deploy/kustomize/values.yaml").read_text())
    expected = files(rendering.render(chart, values))
    if write:
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            file.unlink()
        for name, text in expected.items():
            (folder / name).write_text(text)
    found = {file.name: file.read_text() for file in folder.iterdir()} if folder.exists() else {}
    problems = [
        f"deploy/kustomize/base/{name} is not what the chart gives. hint: scripts/chart.sh --write"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    for name in ("base", "example"):
        problems += [f"deploy/kustomize/{name}: {problem}" for problem in build(repository / "deploy/kustomize" / name, repository)]
    return problems


def files(objects: list[dict]) -> dict[str, str]:
    """The files of the base, by name."""
    texts = {}
    resources = []
    settings = ""
    for item in objects:
        if item["kind"] == "ConfigMap":
            settings = item["data"]["portcullis.toml"]
            continue
        item = without_helm(copy.deepcopy(item))
        name = item["kind"].lower()
        if f"{name}.yaml" in texts:
            name = f"{name}-{item['metadata']['name'].removeprefix('portcullis-')}"
        texts[f"{name}.yaml"] = HEAD + yaml.safe_dump(item, sort_keys=False, width=120)
        resources.append(f"{name}.yaml")
    texts["portcullis.toml"] = settings
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(resources),
        "configMapGenerator": [{"name": "portcullis", "files": ["portcullis.toml"]}],
    }
    texts["kustomization.yaml"] = HEAD + yaml.safe_dump(kustomization, sort_keys=False)
    return texts


def without_helm(part):
    """The part without what is Helm's, and without the namespace, which an overlay sets."""
    if isinstance(part, dict):
        metadata = part.get("metadata")
        if isinstance(metadata, dict):
            metadata.pop("namespace", None)
            for field in ("labels", "annotations"):
                for key in HELMS:
                    metadata.get(field, {}).pop(key, None)
                if not metadata.get(field, {"": ""}):
                    del metadata[field]
        return {key: without_helm(value) for key, value in part.items()}
    return [without_helm(value) for value in part] if isinstance(part, list) else part


def build(folder: pathlib.Path, repository: pathlib.Path) -> list[str]:
    """Builds a kustomization with kubectl and checks what comes out."""
    kubectl = pathlib.Path(sys.executable).with_name("kubectl")
    result = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return [result.stderr]
    objects = list(yaml.safe_load_all(result.stdout))
    print(f"kustomize {folder.name}: {len(objects)} objects")
    return manifests.check(objects, repository)
