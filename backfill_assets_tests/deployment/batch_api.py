"""A stand-in of Kubernetes' batch API: validates every job strictly, then runs its container's command as a process.

It shows that a launcher's jobs are valid and do what they should, and how it reads their status. It has no nodes, pods,
images, accounts or permissions.
"""

import json
import re
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import kubernetes_validate

_JOBS = re.compile(r"/apis/batch/v1/namespaces/(?P<namespace>[^/]+)/jobs(?:/(?P<name>[^/?]+))?")
_PODS = re.compile(r"/api/v1/namespaces/[^/]+/pods(?:/(?P<name>[^/?]+)(?P<log>/log)?)?")
_EVENTS = re.compile(r"/api/v1/namespaces/[^/]+/events")
_POD = {"containers": [{"name": "dagster"}]}


@dataclass
class BatchApi:
    """The jobs of one cluster.

    Attributes:
        version: the minor version of Kubernetes that jobs must be valid for.
        environment: of the processes, in place of what a node would mount and resolve.
        folder: working directory of the processes, and their logs.
        jobs: by name, as they were created.
        faults: what was not valid.
        used_rights: verb and resource of each request, as a role would have to allow it.
    """

    version: str
    environment: Mapping[str, str]
    folder: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    used_rights: set[tuple[str, str]] = field(default_factory=set)

    def __enter__(self) -> "BatchApi":
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for process in self.processes.values():
            process.kill()
            process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def create(self, namespace: str, job: dict[str, Any]) -> dict[str, Any]:
        """Start a job's only container."""
        job = {"apiVersion": "batch/v1", "kind": "Job", **job}
        try:
            kubernetes_validate.validate(job, self.version, strict=True)
        except kubernetes_validate.ValidationError as error:
            self.faults.append(f"{job['metadata']['name']}: {error}")
        (container,) = job["spec"]["template"]["spec"]["containers"]
        given = {e["name"]: e["value"] for e in container.get("env", ()) if e.get("value") is not None}
        name = job["metadata"]["name"]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                container["args"],
                env={**given, **self.environment},
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.jobs[name] = {**job, "metadata": {**job["metadata"], "namespace": namespace}}
        return self.describe(name)

    def describe(self, name: str) -> dict[str, Any]:
        """A job with its status."""
        ended = self.processes[name].poll()
        counts = {"active": 1} if ended is None else {"succeeded": 1} if ended == 0 else {"failed": 1}
        return {**self.jobs[name], "status": {**counts, "startTime": datetime.now(UTC).isoformat()}}

    def describe_pod(self, name: str) -> dict[str, Any]:
        """The pod of a job, which has the job's name."""
        job = self.jobs[name]
        return {"metadata": {"name": name, "namespace": job["metadata"]["namespace"]}, "spec": _POD, "status": {}}


class _Handler(BaseHTTPRequestHandler):
    api: BatchApi

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        found = _JOBS.fullmatch(self.path.partition("?")[0])
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if found is None:
            self._answer(404, _build_refusal("no such resource"))
        else:
            self.api.used_rights.add(("create", "jobs"))
            self._answer(201, self.api.create(found["namespace"], body))

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        found, pods = _JOBS.fullmatch(path.removesuffix("/status")), _PODS.fullmatch(path)
        if found and found["name"] in self.api.jobs:
            self.api.used_rights.add(("get", "jobs/status" if path.endswith("/status") else "jobs"))
            self._answer(200, self.api.describe(found["name"]))
        elif pods and pods["name"]:
            self.api.used_rights.add(("get", "pods/log" if pods["log"] else "pods"))
            self._answer(200, {} if pods["log"] else self.api.describe_pod(pods["name"]))
        elif pods or _EVENTS.fullmatch(path) or (found and not found["name"]):
            self.api.used_rights.add(("list", "pods" if pods else "jobs" if found else "events"))
            listed = [self.api.describe_pod(name) for name in self.api.jobs if pods and f"job-name%3D{name}" in query]
            self._answer(200, {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": listed})
        else:
            self._answer(404, _build_refusal("not found"))

    def do_DELETE(self) -> None:
        path = self.path.partition("?")[0]
        pods = _PODS.fullmatch(path)
        found = pods or _JOBS.fullmatch(path)
        if found is None or found["name"] not in self.api.processes:
            self._answer(404, _build_refusal("not found"))
            return
        self.api.used_rights.add(("delete", "pods" if pods else "jobs"))
        self.api.processes[found["name"]].terminate()
        self._answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _build_refusal(message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": 404}
