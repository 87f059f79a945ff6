"""A real Prometheus scrapes a house and a relay; its own linter reads the page; every panel and alert has an answer."""

import contextlib
import json
import re
import smtplib
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.peers import debian
from tests.peers.house_process import PATIENCE, exchange, houses
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import RelayProcess

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "fastrelay.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]

# What a healthy relay has no data for, and why.
EMPTY_PANELS = {
    "Refused and made to wait: {{reason}}": "a series for each limit, once it has made somebody wait",
}
EMPTY_ALERTS = {
    "FastrelayRefusesForRoom": "the same: nobody was answered 452",
}


def get(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        return exchange(sock, path)[1]


class Prometheus:
    """A real one that scrapes one target every second. rules: a file of alerts."""

    def __init__(self, folder: Path, target: int, rules: Path | None = None) -> None:
        self._port = debian.free_port()
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {evaluation_interval: 1s}\n"
            f"rule_files: [{', '.join([str(rules)] if rules else [])}]\n"
            "scrape_configs:\n"
            "- job_name: fastrelay\n"
            "  scrape_interval: 1s\n"
            "  static_configs:\n"
            f"  - targets: ['127.0.0.1:{target}']\n"
        )
        self._command = [
            debian.need("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """It answers inside."""
        with debian.running(self._command, ready=self._ready, seconds=PATIENCE):
            yield

    def _ready(self) -> bool:
        return debian.listens(self._port) and b"Ready" in get(self._port, "/-/ready")

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}", timeout=PATIENCE) as page:
            answer = json.load(page)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series an expression has now, without those that are no number."""
        found = self.ask(f"query?query={urllib.parse.quote(expression)}")["result"]
        return [one for one in found if one["value"][1] != "NaN"]

    def value(self, expression: str) -> str:
        """The one value of an expression."""
        found = self.query(expression)
        return str(found[0]["value"][1]) if len(found) == 1 else f"{len(found)} results"


def test_prometheus_scrapes_a_house(tmp_path: Path) -> None:
    promtool = debian.need("promtool", "prometheus")
    admin = debian.free_port()
    prometheus = Prometheus(tmp_path, admin)
    value = prometheus.value
    with houses(tmp_path) as start:
        one = start("answering", "run_admin", admin=f"127.0.0.1:{admin}").ready()
        calls = [one.call()[0] for _ in range(5)]
        linted = debian.run([promtool, "check", "metrics"], stdin=get(admin, "/metrics"))
        assert linted.returncode == 0, linted.stderr + linted.stdout
        with prometheus.running():
            debian.wait_until(lambda: value("fastrelay_sessions_total") == "5", PATIENCE, "the sessions to be scraped")
            assert value("up{job='fastrelay'}") == "1"
            assert value("fastrelay_queue_messages") == "10"
            assert value("sum(fastrelay_accept_seconds_bucket{le='+Inf'})") == "0"
            assert value("fastrelay_orphans") == "0"
        for sock in calls:
            sock.close()


def panels() -> Iterator[tuple[str, str, str, str]]:
    """Title, legend, unit and expression of everything the dashboard draws, its variables filled in."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")
            assert "$" not in expression, expression
            unit = panel["fieldConfig"]["defaults"]["unit"]
            yield panel["title"], target.get("legendFormat", ""), unit, expression


def unit_of(expression: str) -> str:
    """What a dashboard must say its numbers are."""
    if "_seconds" in expression:
        return "s"
    return "Bps" if "_bytes_total" in expression else "short"


def test_every_panel_and_every_alert_has_an_answer_while_mail_flows(tmp_path: Path) -> None:
    """Rates need a scrape before the traffic and one behind it: ten seconds, most of them waiting."""

    def refusal(address: str) -> str:
        return {"later": "450 4.2.1 later", "never": "550 5.1.1 unknown"}.get(address.partition("@")[0], "")

    with Mailbox(refuse=refusal) as box:
        relay = RelayProcess(tmp_path, next_hop=f"127.0.0.1:{box.port}")
        prometheus = Prometheus(tmp_path, relay.admin_port, DEPLOY / "prometheus" / "alerts.yml")
        try:
            relay.start()
            with prometheus.running():
                debian.wait_until(
                    lambda: prometheus.value("fastrelay_sessions_total") == "0", PATIENCE, "a scrape before the mail"
                )
                for name in ("one", "two", "later", "never"):
                    with smtplib.SMTP("127.0.0.1", relay.port, timeout=PATIENCE) as client:
                        client.sendmail("a@x.example", f"{name}@y.example", b"Subject: x\r\n\r\nx\r\n")
                answered = {f"{title}: {legend}" for title, legend, *_ in panels()} - set(EMPTY_PANELS)
                debian.wait_until(lambda: not missing(prometheus, answered), PATIENCE, "data for every panel")
                for title, legend, unit, expression in panels():
                    found = prometheus.query(expression)
                    assert bool(found) == (f"{title}: {legend}" in answered), (title, legend)
                    assert unit == unit_of(expression), (title, unit)
                    wanted = set(re.findall(r"\{\{(\w+)\}\}", legend))
                    assert all(wanted <= set(one["metric"]) for one in found), (title, legend, found)
                for name, count in (("received", 4), ("delivered", 3), ("bounced", 1)):
                    assert prometheus.value(f"sum(fastrelay_messages_{name}_total)") == str(count), name
                check_variable(prometheus)
                check_alerts(prometheus)
        finally:
            relay.kill()


def missing(prometheus: Prometheus, answered: set[str]) -> list[str]:
    """Panels without data; those of deferred and bounced mail may say nothing but zero before that has happened."""
    if prometheus.query("sum(rate(fastrelay_messages_bounced_total[1m])) == 0"):
        return ["bounced"]
    names = ((f"{title}: {legend}", expression) for title, legend, _, expression in panels())
    return [name for name, expression in names if name in answered and not prometheus.query(expression)]


def check_variable(prometheus: Prometheus) -> None:
    """The dashboard's choice of relays has this one."""
    (variable,) = DASHBOARD["templating"]["list"]
    match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
    assert match is not None
    found = prometheus.query(match[1])
    assert found and all(one["metric"][match[2]].startswith("127.0.0.1:") for one in found)


def check_alerts(prometheus: Prometheus) -> None:
    """Each can be evaluated, sees the series it compares, names the relay, and is at rest on a healthy one."""
    debian.wait_until(
        lambda: all(rule["health"] == "ok" for rule in rules(prometheus)), PATIENCE, "every rule to be evaluated"
    )
    for alert in ALERTS:
        name, expression = alert["alert"], alert["expr"]
        compared = re.sub(r"\s(==|>)\s", r" \1 bool ", expression)  # 0 or 1 instead of nothing or the value
        assert compared != expression
        found = prometheus.query(compared)
        assert bool(found) == (name not in EMPTY_ALERTS), (name, compared)
        assert all("instance" in one["metric"] for one in found), (name, found)
    assert {rule["name"] for rule in rules(prometheus) if rule["state"] == "firing"} == set()


def rules(prometheus: Prometheus) -> list[dict[str, Any]]:
    return list(prometheus.ask("rules")["groups"][0]["rules"])
