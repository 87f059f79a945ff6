"""Packaging of fastrelay. `pip install .` gives the command `fastrelay`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "fastrelay/__init__.py").read_text(encoding="utf-8"))
assert VERSION is not None

setup(
    name="fastrelay",
    version=VERSION.group(1),
    description="A high-volume outbound SMTP relay: durable before 250, exact limits, never in limbo",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["fastrelay", "fastrelay.*"]),
    package_data={"fastrelay": ["py.typed"]},
    install_requires=[
        "gevent>=24.2",
        "dnspython>=2.6",
        "cachetools>=5.3",
        "prometheus-client>=0.20",
        "click>=8.1",
        "rich>=13.7",
        "msgspec>=0.18.6",
    ],
    extras_require={
        "dev": [
            "pytest>=8",
            "hypothesis>=6.100",
            "ruff>=0.5",
            "mypy>=1.10",
            "types-cachetools",
            "aiosmtpd>=1.4.6",
            "cryptography>=42",
        ]
    },
    entry_points={"console_scripts": ["fastrelay = fastrelay.cli.main:main"]},
)
