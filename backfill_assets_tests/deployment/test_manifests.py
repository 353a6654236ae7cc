"""The manifests of Kubernetes: valid for three minor versions, and each name in one is that of another."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from backfill_assets_tests.deployment.deploy_files import (
    DEPLOY,
    SETTINGS,
    is_setting,
    read_version,
    read_yaml,
    walk,
)

OVERLAYS = ("demo", "production")
VERSIONS = ("1.35", "1.36", "1.37")  # the newest three that the validator knows
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@cache
def build(overlay: str) -> list[dict[str, Any]]:
    """The objects of an overlay, as ``kubectl apply -k`` would send them."""
    return build_folder(DEPLOY / "kubernetes" / "overlays" / overlay)


def build_folder(folder: Path) -> list[dict[str, Any]]:
    built = subprocess.run(
        [shutil.which("kubectl") or "", "kustomize", str(folder)], check=True, capture_output=True, text=True
    ).stdout
    return list(yaml.safe_load_all(built))


def list_pods(overlay: str) -> dict[str, dict[str, Any]]:
    """The pod templates of an overlay by the name of their object, and that of the runs."""
    pods = {o["metadata"]["name"]: o["spec"]["template"] for o in build(overlay) if "template" in o.get("spec", {})}
    return {**pods, "run": build_run_pod()}


def build_run_pod() -> dict[str, Any]:
    """The pod template of a run, as the launcher's configuration describes it."""
    launcher = read_yaml(DEPLOY / "kubernetes" / "base" / "dagster.yaml")["run_launcher"]["config"]
    config = launcher["run_k8s_config"]
    container, pod = config["container_config"], config["pod_spec_config"]
    return {
        "metadata": config["pod_template_spec_metadata"],
        "spec": {
            "serviceAccountName": launcher["service_account_name"],
            "automountServiceAccountToken": pod["automount_service_account_token"],
            "securityContext": pod["security_context"],
            "volumes": pod["volumes"],
            "containers": [
                {
                    "env": container["env"],
                    "envFrom": [{"configMapRef": {"name": name}} for name in launcher["env_config_maps"]],
                    "resources": container["resources"],
                    "securityContext": container["security_context"],
                    "volumeMounts": container["volume_mounts"],
                }
            ],
        },
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_valid(version: str) -> None:
    """What overlays have in common is validated once."""
    for manifest in {str({**m, "metadata": m["metadata"]["name"]}): m for o in OVERLAYS for m in build(o)}.values():
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_those_of_other_objects(overlay: str) -> None:
    """Of configuration, secrets and accounts that pods refer to. The secret of production is made by hand."""
    existing = {(o["kind"], o["metadata"]["name"]) for o in build(overlay)} | {("Secret", "backfill-secrets")}
    for pod in list_pods(overlay).values():
        named = {("ServiceAccount", pod["spec"].get("serviceAccountName"))} - {("ServiceAccount", None)}
        for part in walk(pod):
            named |= {("ConfigMap", part[key]["name"]) for key in ("configMapRef", "configMap") if key in part}
            named |= {("Secret", part["secretName"])} if "secretName" in part else set()
        assert named <= existing


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_pods(overlay: str) -> None:
    """Those of services, budgets of disruption and network policies."""
    labels = [pod["metadata"]["labels"] for pod in list_pods(overlay).values()]
    outside = {"backfill/login": "true"}  # the proxy is somebody else's
    for manifest in build(overlay):
        if manifest["kind"] in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
            parts = [p for p in walk(manifest["spec"]) if "matchLabels" in p or "matchExpressions" in p]
            selectors = [p.get("matchLabels", {}) for p in parts if "kubernetes.io/metadata.name" not in str(p)]
            selectors += [manifest["spec"]["selector"]] if manifest["kind"] == "Service" else []
            values = {value for p in parts for e in p.get("matchExpressions", ()) for value in e["values"]}
            assert values <= {label.get(COMPONENT) for label in labels}
            for selector in selectors:
                assert selector == outside or any(selector.items() <= label.items() for label in labels)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_restricted(overlay: str) -> None:
    """As the namespace enforces: no root, no privileges; ours cannot write to their image either."""
    for name, pod in list_pods(overlay).items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert not security["allowPrivilegeEscalation"]
            assert security.get("readOnlyRootFilesystem") or name == "postgres"
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_those_that_start_runs_have_a_token_of_the_cluster(overlay: str) -> None:
    pods = list_pods(overlay)
    holders = {name for name, pod in pods.items() if pod["spec"].get("automountServiceAccountToken", True)}
    assert holders == {"backfill-daemon", "backfill-webserver"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_vendors_token_is_where_the_vendor_is_asked(overlay: str) -> None:
    """And in no variable of any pod: secrets are files."""
    holders = set()
    for name, pod in list_pods(overlay).items():
        (secrets,) = [v["secret"] for v in pod["spec"]["volumes"] if v["name"] == "secrets"] or [{"items": []}]
        holders |= {name} if "items" not in secrets else set()
        assert not any("secretKeyRef" in part or "secretRef" in part for part in walk(pod))
    assert holders == {"backfill-code", "run"} | ({"demo-symbols"} if overlay == "demo" else set())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_runs_use_the_image_of_the_code_servers(overlay: str) -> None:
    (code,) = list_pods(overlay)["backfill-code"]["spec"]["containers"]
    image = next(e["value"] for e in code["env"] if e["name"] == "DAGSTER_CURRENT_IMAGE")
    assert image == code["image"]
    assert image.endswith(f"/backfill_assets:{read_version()}")


def test_patches_of_the_production_overlay_can_be_uncommented(tmp_path: Path) -> None:
    """All at once: alerts, and a breaking migration."""
    shutil.copytree(DEPLOY / "kubernetes", tmp_path / "kubernetes")
    folder = tmp_path / "kubernetes" / "overlays" / "production"
    file = folder / "kustomization.yaml"
    file.write_text(re.sub(r"^#(?=patches:|  )", "", file.read_text("utf-8"), flags=re.MULTILINE))
    objects = {(o["kind"], o["metadata"]["name"]): o for o in build_folder(folder)}
    (migrate,) = objects["Job", "backfill-migrate"]["spec"]["template"]["spec"]["containers"]
    (code,) = objects["Deployment", "backfill-code"]["spec"]["template"]["spec"]["containers"]
    assert migrate["args"] == ["backfill-assets", "migrate", "--allow-breaking"]
    assert "BACKFILL_ALERT_URLS_FILE" in {variable["name"] for variable in code["env"]}


def test_the_log_of_a_failed_migration_stays() -> None:
    """The pod of a job that is given up is removed, unless it is never started again."""
    (job,) = [o for o in build("production") if o["kind"] == "Job"]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_exist(overlay: str) -> None:
    names = {e["name"] for pod in list_pods(overlay).values() for part in walk(pod) for e in part.get("env", ())}
    names |= {n for o in build(overlay) if o["metadata"]["name"] == "backfill-settings" for n in o["data"]}
    assert {name for name in names if is_setting(name)} - {"BACKFILL_NAMESPACE"} <= SETTINGS


def test_one_daemon_and_two_of_what_people_wait_for() -> None:
    deployments = {o["metadata"]["name"]: o["spec"] for o in build("production") if o["kind"] == "Deployment"}
    replicas = {name: spec["replicas"] for name, spec in deployments.items()}
    assert replicas == {"backfill-code": 2, "backfill-daemon": 1, "backfill-metrics": 1, "backfill-webserver": 2}
    assert deployments["backfill-daemon"]["strategy"] == {"type": "Recreate"}
