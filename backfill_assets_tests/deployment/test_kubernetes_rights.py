"""What daemon and webserver ask of the cluster's API, and what their role allows: the same."""

from pathlib import Path
from typing import Any

import yaml
from dagster_k8s.client import DagsterKubernetesClient
from kubernetes import client

from backfill_assets_tests.deployment.batch_api import BatchApi
from backfill_assets_tests.deployment.deploy_files import DEPLOY

JOB = "dagster-run-1"


def list_rights() -> set[tuple[str, str]]:
    """Verbs and resources of the shipped role."""
    documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "base" / "rbac.yaml").read_text("utf-8"))
    (role,) = [document for document in documents if document["kind"] == "Role"]
    return {(verb, name) for rule in role["rules"] for verb in rule["verbs"] for name in rule["resources"]}


def build_job() -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "dagster", "image": "any", "args": ["sleep", "60"]}]}
    return {"metadata": {"name": JOB}, "spec": {"template": {"spec": pod}}}


def test_role_allows_what_launching_watching_and_terminating_a_run_need_and_nothing_else(tmp_path: Path) -> None:
    """By Dagster's own client: a run that is terminated has its pods deleted, too."""
    with BatchApi("1.36", {"PATH": "/usr/bin:/bin"}, tmp_path) as api:
        connection = client.ApiClient(client.Configuration(host=api.url))
        asking = DagsterKubernetesClient.production_client(client.BatchV1Api(connection), client.CoreV1Api(connection))
        asking.create_namespaced_job_with_retries(body=build_job(), namespace="backfill")
        assert asking.get_job_status(JOB, "backfill").active == 1
        asking.get_job_debug_info(JOB, "backfill")
        for pod in asking.get_pod_names_in_job(JOB, "backfill"):
            asking.get_pod_debug_info(pod, "backfill")
            asking.retrieve_pod_events(pod, "backfill")
            asking.retrieve_pod_logs(pod, "backfill", container_name="dagster")
        assert asking.delete_job(JOB, "backfill")
    assert api.faults == []
    assert api.used_rights == list_rights()
