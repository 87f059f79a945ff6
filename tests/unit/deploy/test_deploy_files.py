"""deploy/: every file is read by the program it is for, and names nothing that does not exist."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastrelay.config import parse
from fastrelay.metrics import METRICS, Kind
from tests.peers import debian

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "fastrelay.json"
UNIT = DEPLOY / "systemd" / "fastrelay.service"
WORDS = re.compile(r"\bfastrelay_[a-z_]+")


def expressions() -> list[str]:
    """Every query of the alerts and the dashboard."""
    found = [rule["expr"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    board = json.loads(DASHBOARD.read_text())
    found += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found += [one["definition"] for one in board["templating"]["list"]]
    return found + [one["expr"] for one in board["annotations"]["list"]]


def exported() -> set[str]:
    """Names as Prometheus sees them."""
    names = set()
    for metric in METRICS:
        ends = ("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        names |= {f"fastrelay_{metric.name}{end}" for end in ends}
    return names


def labels_of(name: str) -> set[str]:
    """The labels that metric bears."""
    return {label for metric in METRICS if name.startswith(f"fastrelay_{metric.name}") for label in metric.labels}


def test_every_metric_in_alerts_and_dashboard_exists() -> None:
    used = {name for text in expressions() for name in WORDS.findall(text)}
    assert used <= exported()
    assert len(used) > 20


def test_every_label_they_select_by_exists() -> None:
    selectors = [
        (name, selector)
        for text in expressions()
        for name, selector in re.findall(r"(fastrelay_[a-z_]+)\{([^}]*)\}", text)
    ]
    assert len(selectors) > 5
    for name, selector in selectors:
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector):
            assert label in labels_of(name) | {"instance", "job"}, f"{name}{{{selector}}}"


def test_every_metric_but_a_few_is_on_the_dashboard() -> None:
    shown = {name for text in expressions() for name in WORDS.findall(text)}
    missing = {metric.name for metric in METRICS if not any(f"fastrelay_{metric.name}" in one for one in shown)}
    assert missing <= {"trail_verdicts_total"}


def test_promtool_takes_rules_and_configuration() -> None:
    promtool = debian.need("promtool", "prometheus")
    checked = debian.run([promtool, "check", "rules", ALERTS])
    assert checked.returncode == 0, checked.stderr
    checked = debian.run([promtool, "check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml"])
    assert checked.returncode == 0, checked.stderr


def test_alerts_say_what_to_do() -> None:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"] and rule["annotations"]["do"]


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    analyze = debian.need("systemd-analyze", "systemd")
    for name in ("fastrelay.service", "fastrelay.socket"):
        text = (DEPLOY / "systemd" / name).read_text().replace("/opt/fastrelay/bin/fastrelay", sys.executable)
        (tmp_path / name).write_text(
            text.replace("User=fastrelay", "User=daemon").replace("Group=fastrelay", "Group=daemon")
        )
    checked = debian.run([analyze, "verify", "--man=no", tmp_path / "fastrelay.service", tmp_path / "fastrelay.socket"])
    said = [line for line in checked.stderr.decode().splitlines() if "fastrelay" in line]
    assert checked.returncode == 0 and not said, said


def test_the_service_is_confined(tmp_path: Path) -> None:
    """systemd's own measure, 0 to 10; what is left is the network, a user's rights and the spool."""
    analyze = debian.need("systemd-analyze", "systemd")
    checked = debian.run([analyze, "security", "--offline=true", "--no-pager", "--threshold=25", UNIT])
    assert checked.returncode == 0, checked.stdout[-300:] + checked.stderr


def test_the_unit_gives_time_for_a_drain() -> None:
    stop = re.search(r"^TimeoutStopSec=(\d+)s$", UNIT.read_text(), re.MULTILINE)
    assert stop and int(stop[1]) >= parse("").server.drain_timeout + 10


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("**/*.y*ml")), ids=lambda path: path.name)
def test_yaml(path: Path) -> None:
    assert all(isinstance(one, dict) for one in yaml.safe_load_all(path.read_text()))


def kubernetes() -> dict[str, Any]:
    """The objects by kind; services by name."""
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "fastrelay.yaml").read_text()))
    return {one["metadata"]["name"] if one["kind"] == "Service" else one["kind"]: one for one in objects}


def test_kubernetes_fits_together() -> None:
    found = kubernetes()
    config = parse(found["ConfigMap"]["data"]["fastrelay.toml"])
    pod = found["StatefulSet"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert config.listeners[0].address.endswith(f":{ports['smtp']}")
    assert config.admin.address.endswith(f":{ports['admin']}")
    assert pod["terminationGracePeriodSeconds"] >= config.server.drain_timeout + 20
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {config.spool.path, config.server.runtime_dir} <= mounts
    volumes = {one["name"] for one in pod["volumes"]}
    volumes |= {one["metadata"]["name"] for one in found["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert found["StatefulSet"]["spec"]["serviceName"] in found
    labels = found["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    for one in (found["fastrelay"], found["fastrelay-pods"]):
        assert one["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels


def test_compose_fits_together() -> None:
    folder = DEPLOY / "docker"
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    config = parse((folder / "fastrelay.toml").read_text())
    hop, _, port = config.routes[0].next_hop[0].partition(":")
    assert hop in compose["services"] and port in compose["services"][hop]["command"][-1]
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (folder / source).exists() if source.startswith(".") else source in compose["volumes"]
    target = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    host, _, admin = target["scrape_configs"][0]["static_configs"][0]["targets"][0].partition(":")
    assert host in compose["services"] and config.admin.address.endswith(f":{admin}")


def test_the_dockerfile_copies_what_there_is() -> None:
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    lines = re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
    assert lines
    for line in lines:
        *sources, _ = line.split()
        assert all((DEPLOY.parent / source).exists() for source in sources), line


def test_kernel_settings_exist() -> None:
    lines = (DEPLOY / "sysctl" / "90-fastrelay.conf").read_text().splitlines()
    keys = [line.partition("=")[0].strip() for line in lines if line and not line.startswith("#")]
    here = [Path("/proc/sys", *key.split(".")) for key in keys]
    assert len(keys) > 5 and all(path.exists() or not path.parent.exists() for path in here)


def test_logrotate_understands_its_file(tmp_path: Path) -> None:
    logrotate = debian.need("logrotate")
    text = (DEPLOY / "logrotate" / "fastrelay").read_text().replace("fastrelay fastrelay", "root root")
    copy = tmp_path / "fastrelay"
    copy.write_text(text.replace("/var/log/fastrelay", str(tmp_path)))
    copy.chmod(0o644)
    checked = debian.run([logrotate, "--debug", "--state", tmp_path / "state", copy])
    assert checked.returncode == 0 and b"error" not in checked.stderr.lower(), checked.stderr
