"""Packaging of fastrelay. `pip install .` gives the command `fastrelay`; with FASTRELAY_COMPILE=1 in the environment
(`make compiled`) the modules of the hot path are compiled to C by mypyc. The sources stay the reference.

    .venv/bin/pip install '.[compile]'                                    # what mypyc needs to be there
    FASTRELAY_COMPILE=1 .venv/bin/pip install --no-build-isolation --no-deps .
"""

import os
import re
from pathlib import Path

from setuptools import Extension, find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "fastrelay/__init__.py").read_text(encoding="utf-8"))
assert VERSION is not None

REQUIRES = [
    "gevent>=24.2",
    "dnspython>=2.6",
    "cachetools>=5.3",
    "prometheus-client>=0.20",
    "click>=8.1",
    "rich>=13.7",
    "msgspec>=0.18.6",
]
COMPILE = os.environ.get("FASTRELAY_COMPILE", "") not in ("", "0")
HOT = (
    *(f"fastrelay/{room}/*.py" for room in ("smtp", "reception", "spool", "schedule", "delivery", "settlement")),
    *(f"fastrelay/runtime/{name}.py" for name in ("clock", "crowd", "line_writer", "stream", "tasks")),
    *(f"fastrelay/process/{name}.py" for name in ("balance", "buckets", "heartbeat", "ledger", "limit", "rows")),
    *(f"fastrelay/{name}.py" for name in ("errands", "eventlog", "intake", "relay")),
)
# not compiled: what defines a msgspec.Struct (mypyc passes over the options of the class statement), and the seam to
# the disk, of which tests make subclasses
INTERPRETED = {"fastrelay/spool/disk.py"}


def compiled() -> list[Extension]:
    """The hot modules as extensions; none without FASTRELAY_COMPILE."""
    if not COMPILE:
        return []
    try:
        import gevent  # noqa: F401  mypyc reads the types of what the modules import
        from mypyc.build import mypycify
    except ImportError as error:
        raise SystemExit(f"FASTRELAY_COMPILE: {error}; use `make compiled`, or see the head of setup.py") from None
    found = sorted({str(path.relative_to(HERE)) for pattern in HOT for path in HERE.glob(pattern)})
    modules = [
        name
        for name in found
        if name not in INTERPRETED
        and not name.endswith("__init__.py")
        and "(msgspec.Struct" not in (HERE / name).read_text(encoding="utf-8")
    ]
    return mypycify(["--explicit-package-bases", *modules], opt_level="3", debug_level="1", multi_file=True)


def pages() -> list[tuple[str, list[str]]]:
    """What an operator reads and copies, for share/doc/fastrelay of the environment: as here, so that links hold."""
    paths = [*HERE.glob("*.md"), *HERE.glob("docs/*.md"), *HERE.glob("deploy/*/*")]
    found: dict[str, list[str]] = {}
    for path in sorted(path.relative_to(HERE) for path in paths if path.is_file()):
        found.setdefault(str("share/doc/fastrelay" / path.parent), []).append(str(path))
    return list(found.items())


setup(
    name="fastrelay",
    version=VERSION.group(1),
    description="A high-volume outbound SMTP relay: durable before 250, exact limits, never in limbo",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["fastrelay", "fastrelay.*"]),
    package_data={"fastrelay": ["py.typed"]},
    data_files=pages(),
    install_requires=REQUIRES,
    ext_modules=compiled(),
    extras_require={
        # from 70.1 on setuptools makes wheels by itself; what a venv of Python 3.11 comes with cannot
        "compile": ["mypy>=1.11", "types-cachetools", "setuptools>=70.1"],
        "dev": [
            "pytest>=8",
            "hypothesis>=6.100",
            "ruff>=0.5",
            "mypy>=1.10",
            "types-cachetools",
            "aiosmtpd>=1.4.6",
            "cryptography>=42",
            "pyyaml>=6",
            "types-PyYAML>=6",
            "setuptools>=70.1",  # for `make compiled`; a venv of Python 3.12 has none
        ],
    },
    entry_points={"console_scripts": ["fastrelay = fastrelay.cli.main:main"]},
)
