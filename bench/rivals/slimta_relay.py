"""A relay of python-slimta's parts, as its manual puts them together. Runs in the environment bench/rivals/fetch makes.

python slimta_relay.py --port 2525 --sink 2526 --folder DIR --connections 50 --retry 300
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import os  # noqa: E402

from slimta.diskstorage import DiskStorage  # noqa: E402
from slimta.edge.smtp import SmtpEdge  # noqa: E402
from slimta.queue import Queue  # noqa: E402
from slimta.relay.smtp.static import StaticSmtpRelay  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--sink", type=int)
parser.add_argument("--folder")
parser.add_argument("--connections", type=int)
parser.add_argument("--retry", type=int)
chosen = parser.parse_args()

places = [os.path.join(chosen.folder, name) for name in ("envelopes", "meta", "temporary")]
for place in places:
    os.mkdir(place)
relay = StaticSmtpRelay(
    "127.0.0.1", chosen.sink, pool_size=chosen.connections, idle_timeout=10.0, ehlo_as="relay.invalid",
)  # fmt: skip
queue = Queue(DiskStorage(*places), relay, backoff=lambda envelope, attempts: chosen.retry)
queue.start()
edge = SmtpEdge(("127.0.0.1", chosen.port), queue, hostname="relay.invalid")
edge.start()
edge.get()
