"""Checks what is handed to operators: compose.yaml, `deploy/`, the unit of systemd, and the bill of materials.

    python check.py SERVER_BINARY

Kubernetes objects are held against the schemas of Kubernetes itself, the bill of materials against that of CycloneDX, the
unit by systemd where that is installed. Beyond the schemas it asserts what this server needs: that every variable is an
option that it knows, that the times of a stop fit into each other, and that nothing runs with more rights than it needs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parent.parent.parent
KUBERNETES = ["1.29", "1.33", "1.37"]
PREFIX = "ARTICLE_STORE_"
USER = 65532
# What the store takes to close, in seconds, at most.
CLOSING = 10
EXPOSURE = "1.5"

Yaml = dict[str, Any]


class Loader(yaml.SafeLoader):
    """Takes the tags of compose files for what they mark."""


Loader.add_constructor("!override", lambda loader, node: construct(loader, node))


def construct(loader: Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node, deep=True)


def documents(path: Path) -> list[Yaml]:
    with path.open() as file:
        return list(yaml.load_all(file, Loader))


def options(binary: str) -> dict[str, str]:
    """The variables of `serve` and of what every client command has, with their defaults."""
    known = {}
    for command in ("serve", "health"):
        help_text = subprocess.run([binary, command, "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout
        text = re.sub(r"\s+", " ", help_text)
        for match in re.finditer(r"\[env: (ARTICLE_STORE_[A-Z0-9_]+)=?\](?: \[default: ([^\]]*)\])?|\[default: ([^\]]*)\] \[env: (ARTICLE_STORE_[A-Z0-9_]+)=?\]", text):
            name = match[1] or match[4]
            known[name] = match[2] or match[3] or ""
    assert len(known) > 10, known
    return known


def check_variables(where: str, given: dict[str, str], known: dict[str, str]) -> None:
    unknown = [name for name in given if name.startswith(PREFIX) and name not in known]
    assert not unknown, f"{where}: {unknown} are no options"


def seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)(ms|s|m|min)?", text)
    assert match, text
    return int(match[1]) * {"ms": 0.001, "s": 1, None: 1, "m": 60, "min": 60}[match[2]]


def check_stop(where: str, limit: float, given: dict[str, str], known: dict[str, str]) -> None:
    value = {**known, **given}
    needed = seconds(value[PREFIX + "DRAIN_DELAY"]) + seconds(value[PREFIX + "GRACE_SECONDS"]) + CLOSING
    assert limit >= needed, f"{where}: it is killed after {limit} s, and may take {needed} s to stop"


def check_compose(known: dict[str, str]) -> None:
    for name in ("compose.yaml", "deploy/compose.secure.yaml"):
        (compose,) = documents(ROOT / name)
        (service,) = compose["services"].values()
        check_variables(name, service["environment"], known)
        exposed = [port for port in service["ports"] if not port.startswith("127.0.0.1:")]
        insecure = [variable for variable in service["environment"] if "INSECURE" in variable]
        assert not (exposed and insecure), f"{name}: {exposed} with {insecure}"
        for secret in service.get("secrets", []):
            assert secret in compose["secrets"], f"{name}: {secret}"
    (compose,) = documents(ROOT / "compose.yaml")
    (service,) = compose["services"].values()
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["user"] == f"{USER}:{USER}"
    check_stop("compose.yaml", seconds(service["stop_grace_period"]), service["environment"], known)


def check_kubernetes(known: dict[str, str]) -> None:
    folder = ROOT / "deploy/kubernetes"
    (kustomization,) = documents(folder / "kustomization.yaml")
    listed = set(kustomization["resources"])
    there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert listed == there, f"kustomization.yaml lists {listed}, there are {there}"
    objects = {(each["kind"], each["metadata"]["name"]): each for name in listed for each in documents(folder / name)}
    for version in KUBERNETES:
        for each in objects.values():
            kubernetes_validate.validate(each, version, strict=True)

    stateful = objects["StatefulSet", "article-store"]
    template = stateful["spec"]["template"]
    labels = template["metadata"]["labels"]
    pod = template["spec"]
    (container,) = pod["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    check_variables("statefulset.yaml", given, known)
    check_stop("statefulset.yaml", pod["terminationGracePeriodSeconds"], given, known)
    assert stateful["spec"]["replicas"] == 1, "one process opens a store"
    assert ("Service", stateful["spec"]["serviceName"]) in objects
    assert pod["enableServiceLinks"] is False and pod["automountServiceAccountToken"] is False
    context = pod["securityContext"] | container["securityContext"]
    assert context["runAsNonRoot"] and context["runAsUser"] == USER and context["fsGroup"] == USER
    assert context["readOnlyRootFilesystem"] and context["capabilities"] == {"drop": ["ALL"]}
    assert context["allowPrivilegeEscalation"] is False
    assert container["resources"]["requests"]["memory"] and container["resources"]["limits"]["memory"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert given[PREFIX + "LISTEN"].endswith(f":{ports['grpc']}")
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert given[PREFIX + "STORE"] == f"sled:{mounts['data']}"
    for name, value in given.items():
        if value.startswith("/"):
            assert any(value.startswith(f"{mount}/") for mount in mounts.values()), f"{name}: {value} is on no volume"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] in ports.values(), probe
    assert "preStop" not in container.get("lifecycle", {}), "the drain delay does that"
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        spec = objects[kind, "article-store"]["spec"]
        selector = spec.get("selector") or spec["podSelector"]
        assert selector["matchLabels"].items() <= labels.items(), kind
    for (kind, name), each in objects.items():
        if kind == "Service":
            assert each["spec"]["selector"].items() <= labels.items(), name
            for port in each["spec"]["ports"]:
                assert port["targetPort"] in ports, f"{name}: {port}"


def check_systemd(binary: str, known: dict[str, str]) -> None:
    unit = (ROOT / "deploy/systemd/article-store.service").read_text()
    given = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.M))
    check_variables("article-store.service", given, known)
    (limit,) = re.findall(r"^TimeoutStopSec=(.*)$", unit, re.M)
    check_stop("article-store.service", seconds(limit), given, known)
    if not shutil.which("systemd-analyze"):
        print("skipped: systemd is not installed, the unit was not verified")
        return
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "article-store.service"
        copy.write_text(unit.replace("/usr/local/bin/article-store", os.path.abspath(binary)))
        subprocess.run(["systemd-analyze", "verify", copy], check=True)
        security = ["systemd-analyze", "security", "--offline=true", f"--threshold={float(EXPOSURE) * 10:.0f}", copy]
        subprocess.run(security, check=True, stdout=subprocess.DEVNULL)


def check_bill() -> None:
    bills = [subprocess.run([ROOT / "scripts/sbom"], check=True, stdout=subprocess.PIPE, text=True).stdout for _ in range(2)]
    assert bills[0] == bills[1], "the same sources give another bill of materials"
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bills[0])
    assert problem is None, problem
    bill = json.loads(bills[0])
    components = {each["name"]: each for each in bill["components"]}
    refs = {each["bom-ref"] for each in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert {each["ref"] for each in bill["dependencies"]} == refs
    assert {"tonic", "sled", "opentelemetry"} <= components.keys(), "of the released features, too"
    assert not {"proptest", "rcgen", "prost-build"} & components.keys(), "what tests and builds is not shipped"
    bare = [name for name, each in components.items() if not ("licenses" in each and "hashes" in each)]
    assert not bare, f"{bare} have no licence or checksum"
    print(f"the bill of materials has {len(components)} components")


def main(binary: str) -> None:
    known = options(binary)
    check_compose(known)
    check_kubernetes(known)
    check_systemd(binary, known)
    check_bill()
    print("compose, Kubernetes, systemd and the bill of materials are as they must be")


if __name__ == "__main__":
    main(sys.argv[1])
