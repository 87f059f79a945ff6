"""A real Prometheus scrapes a house; its own linter reads the page."""

import json
import socket
import urllib.parse
from pathlib import Path

from tests.peers import debian
from tests.peers.house_process import PATIENCE, exchange, houses


def get(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        return exchange(sock, path)[1]


def test_prometheus_scrapes_a_house(tmp_path: Path) -> None:
    prometheus, promtool = debian.need("prometheus"), debian.need("promtool", "prometheus")
    admin, own = debian.free_port(), debian.free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "scrape_configs:\n"
        "- job_name: fastrelay\n"
        "  scrape_interval: 1s\n"
        "  static_configs:\n"
        f"  - targets: ['127.0.0.1:{admin}']\n"
    )
    command = [
        prometheus,
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{own}",
    ]

    def ready() -> bool:
        return debian.listens(own) and b"Ready" in get(own, "/-/ready")

    def value(query: str) -> str:
        answer = json.loads(get(own, f"/api/v1/query?query={urllib.parse.quote(query)}"))
        assert answer["status"] == "success", answer
        results = answer["data"]["result"]
        return results[0]["value"][1] if len(results) == 1 else f"{len(results)} results"

    with houses(tmp_path) as start:
        one = start("answering", "run_admin", admin=f"127.0.0.1:{admin}").ready()
        calls = [one.call()[0] for _ in range(5)]
        linted = debian.run([promtool, "check", "metrics"], stdin=get(admin, "/metrics"))
        assert linted.returncode == 0, linted.stderr + linted.stdout
        with debian.running(command, ready=ready, seconds=PATIENCE):
            debian.wait_until(lambda: value("fastrelay_sessions_total") == "5", PATIENCE, "the sessions to be scraped")
            assert value("up{job='fastrelay'}") == "1"
            assert value("fastrelay_queue_messages") == "10"
            assert value("sum(fastrelay_accept_seconds_bucket{le='+Inf'})") == "0"
            assert value("fastrelay_orphans") == "0"
        for sock in calls:
            sock.close()
