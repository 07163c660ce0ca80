"""What stands in deploy/kubernetes, tried with the schemas of Kubernetes and with kubectl."""

import re
import shlex
import shutil
from dataclasses import fields as fields_of
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

import inkdigits
from inkdigits.cli import build_parser
from inkdigits.settings import Settings

from support.fronts import DEPLOY
from support.programs import ROOT, ran, tool

KUBERNETES = DEPLOY / "kubernetes"
KUBERNETES_VERSION = "1.35"
# Custom resources, which no schema of Kubernetes' own knows.
CUSTOM = {"ServiceMonitor", "InferenceService", "RayJob", "ClusterConfig", "Kustomization", "Component"}


def manifests():
    """(file, resource) of every manifest, as it stands."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        for resource in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield path, resource


def rendered(overlay):
    """The resources of an overlay as the cluster gets them, by kind."""
    text = ran(tool("kubectl"), "kustomize", KUBERNETES / "overlays" / overlay)
    return {resource["kind"]: resource for resource in yaml.safe_load_all(text)}


def validate(resource):
    if resource["kind"] not in CUSTOM:
        kubernetes_validate.validate(resource, KUBERNETES_VERSION, strict=True)


def test_every_manifest_fits_the_schema():
    kinds = set()
    for _, resource in manifests():
        validate(resource)
        kinds.add(resource["kind"])
    assert kinds >= CUSTOM | {
        *("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Namespace")
    }


@pytest.mark.parametrize("overlay", ["local", "eks"])
def test_an_overlay_is_whole(overlay):
    found = rendered(overlay)
    for resource in found.values():
        validate(resource)
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", found["Deployment"]["metadata"]["name"])
    if overlay == "eks":
        monitor = found["ServiceMonitor"]["spec"]
        assert monitor["selector"]["matchLabels"].items() <= found["Service"]["metadata"]["labels"].items()
        assert monitor["endpoints"][0]["port"] == found["Service"]["spec"]["ports"][0]["name"]


def test_corrections_and_trials_are_added_by_a_component(tmp_path):
    overlay = tmp_path / "kubernetes" / "overlays" / "mine"
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    overlay.mkdir()
    mine = {"resources": ["../../base"], "components": ["../../components/learning"]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(mine))
    found = {r["kind"]: r for r in yaml.safe_load_all(ran(tool("kubectl"), "kustomize", overlay))}
    for resource in found.values():
        validate(resource)
    [container] = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "inkdigits-settings"}}]
    assert {"name": "PORT", "value": "9696"} in container["env"]
    assert container["volumeMounts"] == [{"name": "models", "mountPath": "/models"}]
    assert {port["port"] for rule in found["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]} == {5432, 53}
    text = (KUBERNETES / "components" / "learning" / "kustomization.yaml").read_text()
    known = {f.metadata["env"] for f in fields_of(Settings)}
    assert set(re.findall(r"INKDIGITS_[A-Z_]+", text)) <= known


def containers():
    for path, resource in manifests():
        if resource["kind"] == "Deployment":
            yield path, resource["spec"]["template"]["spec"]
        elif resource["kind"] == "InferenceService":
            yield path, resource["spec"]["predictor"]


def test_a_pod_is_what_the_server_needs():
    for _, pod in containers():
        [container] = pod["containers"]
        [port] = container["ports"]
        assert {"name": "PORT", "value": str(port["containerPort"])} in container["env"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
        assert container["livenessProbe"]["httpGet"]["path"] == "/health"
        assert pod["securityContext"]["runAsNonRoot"]
        assert f"USER {pod['securityContext']['runAsUser']}:" in (DEPLOY / "Dockerfile").read_text()
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert security["capabilities"]["drop"] == ["ALL"]
        assert container["resources"].keys() == {"requests", "limits"}


def test_a_pod_has_time_to_drain():
    from inkdigits.server.processes.run import GRACE_SECONDS

    [(_, pod)] = [(path, pod) for path, pod in containers() if "deployment" in path.name]
    wait = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > wait + GRACE_SECONDS
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["inkdigits"]
    assert int(compose["stop_grace_period"].removesuffix("s")) > GRACE_SECONDS
    unit = (DEPLOY / "systemd" / "inkdigits.service").read_text()
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) > GRACE_SECONDS


def test_the_version_of_kubernetes_is_the_cluster_s():
    cluster = yaml.safe_load((KUBERNETES / "cluster.yaml").read_text())
    assert cluster["metadata"]["version"] == KUBERNETES_VERSION


def fields(required=(), **kinds):
    """JSON schema of an object that has these fields and no others."""
    properties = {name: kind if isinstance(kind, dict) else {"type": kind} for name, kind in kinds.items()}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


# No package has the schemas of these custom resources. What of them is used here was compared with their sources:
# KubeRay's ray-operator/apis/ray/v1, and the models of KServe's Python package, 0.21. The pods in them are Kubernetes'
# own.
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
RAY_JOB = fields(
    ["entrypoint", "rayClusterSpec"],
    entrypoint="string",
    shutdownAfterJobFinishes="boolean",
    ttlSecondsAfterFinished="integer",
    rayClusterSpec=fields(
        ["headGroupSpec"],
        rayVersion="string",
        headGroupSpec=fields(["rayStartParams", "template"], rayStartParams=TEXTS, template="object"),
        workerGroupSpecs={
            "type": "array",
            "items": fields(
                ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
                groupName="string",
                replicas="integer",
                minReplicas="integer",
                maxReplicas="integer",
                rayStartParams=TEXTS,
                template="object",
            ),
        },
    ),
)
SCALING = fields(
    minReplicas="integer",
    maxReplicas="integer",
    scaleMetric={"enum": ["cpu", "memory", "concurrency", "rps"]},
    scaleTarget="integer",
)


def validate_pod(template):
    resource = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": template}
    kubernetes_validate.validate(resource, KUBERNETES_VERSION, strict=True)


def test_an_inference_service_has_the_fields_that_kserve_knows():
    service = yaml.safe_load((KUBERNETES / "kserve.yaml").read_text())
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    jsonschema.validate(service["spec"], fields(["predictor"], predictor="object"))
    predictor = dict(service["spec"]["predictor"])
    scaling = {name: predictor.pop(name) for name in SCALING["properties"]}
    jsonschema.validate(scaling, SCALING)
    validate_pod({"spec": predictor})


def test_a_ray_job_runs_what_there_is():
    resource = yaml.safe_load((KUBERNETES / "rayjob.yaml").read_text())
    assert resource["apiVersion"] == "ray.io/v1"
    job = resource["spec"]
    jsonschema.validate(job, RAY_JOB)
    cluster = job["rayClusterSpec"]
    nodes = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    dockerfile = (DEPLOY / "ray.Dockerfile").read_text()
    assert dockerfile.count(f"ray:{cluster['rayVersion']}-py") == dockerfile.count(f"ray=={cluster['rayVersion']}") == 1
    [image] = {container["image"] for node in nodes for container in node["template"]["spec"]["containers"]}
    assert image == f"inkdigits-ray:{inkdigits.__version__}"
    for node in nodes:
        validate_pod(node["template"])
        assert node["template"]["spec"]["securityContext"]["runAsNonRoot"]
    program, *argv = shlex.split(job["entrypoint"])
    assert program == "inkdigits"
    args = build_parser().parse_args(argv)
    assert (args.engine, args.begin) == ("ray", "resume")
    mounts = [mount["mountPath"] for c in nodes[0]["template"]["spec"]["containers"] for mount in c["volumeMounts"]]
    assert all(str(Path(path).parent) in mounts for path in [*args.images, args.output])


def test_the_night_s_learning_runs_what_there_is():
    resource = yaml.safe_load((KUBERNETES / "learn.yaml").read_text())
    pod = resource["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == f"inkdigits-learn:{inkdigits.__version__}"
    program, *argv = container["command"]
    assert program == "inkdigits"
    args = build_parser().parse_args(argv)
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    set_to = {each["name"]: each.get("value") for each in container["env"]}
    assert {args.folder, set_to["INKDIGITS_DATA"]} <= mounts
    assert not args.auto, "a person promotes"
    [compose] = [
        each for each in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
        if each.get("profiles") == ["learn"]
    ]  # fmt: skip
    assert build_parser().parse_args(compose["entrypoint"][1:]).folder == "/data/models"
    dockerfile = (DEPLOY / "learn.Dockerfile").read_text()
    [torch] = re.findall(r"torch==[\d.]+", dockerfile)
    assert torch in (DEPLOY / "train-constraints.txt").read_text().splitlines()
