"""The fuzz tests driven by coverage, by atheris (libFuzzer): `python tests/fuzz/covered.py [--seconds 60] [TEST ...]`.

Each hypothesis test of this folder is a target: hypothesis turns octets into its examples, atheris changes the octets
so that new branches of fastrelay are reached. What reached one is kept in corpus/TEST (one file each, msgpack list of
octets) and tried first the next time; test_fuzz_corpus.py tries all of it in the suite. One process for each test;
one that fails leaves what made it so in the corpus, and exit code 1.
"""

import argparse
import ast
import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
CORPUS = HERE / "corpus"
LARGEST = 4096  # octets of an input; an example needs a few hundred
_DONE = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERED = re.compile(r"cov: (\d+) ft: (\d+)")


def targets() -> list[str]:
    """MODULE:TEST of every test that hypothesis alone feeds."""
    found = []
    for path in sorted(HERE.glob("test_*_fuzz.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            words = [ast.unparse(one) for one in node.decorator_list]
            if any("given" in one for one in words) and not any("parametrize" in one for one in words):
                found.append(f"{path.stem}:{node.name}")
    return found


def kept(target: str) -> list[bytes]:
    """The corpus of a target, [] when there is none yet."""
    path = CORPUS / target.replace(":", ".")
    return msgspec.msgpack.decode(path.read_bytes(), type=list[bytes]) if path.exists() else []


def keep(target: str, inputs: list[bytes]) -> None:
    """From now on these."""
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / target.replace(":", ".")).write_bytes(
        msgspec.msgpack.encode(sorted(set(inputs), key=lambda one: (len(one), one)))
    )


def fuzz_one_input(target: str) -> Callable[[bytes], object]:
    """The function of octets behind a test."""
    module, _, name = target.partition(":")
    test = getattr(importlib.import_module(f"tests.fuzz.{module}"), name)
    feed: Callable[[bytes], object] = test.hypothesis.fuzz_one_input
    return feed


def _work(target: str, words: list[str]) -> None:
    """In a process of its own: libFuzzer never returns."""
    import atheris  # not a dependency of the suite

    with atheris.instrument_imports(include=["fastrelay"]):
        one = fuzz_one_input(target)
    atheris.Setup([target, *words], one)
    atheris.Fuzz()


def run(target: str, seconds: int) -> bool:
    """One target for so long; False when it failed."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for n, octets in enumerate(kept(target)):
            (corpus / str(n)).write_bytes(octets)
        command = [
            sys.executable, __file__, "--work", target, f"-max_total_time={seconds}", "-print_final_stats=1",
            f"-artifact_prefix={folder}/failed-", f"-max_len={LARGEST}", "-len_control=0", "-rss_limit_mb=2048",
            "-timeout=20", "-reduce_inputs=1", str(corpus),
        ]  # fmt: skip
        ran = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env={**os.environ, "FASTRELAY_FUZZ": "1"}
        )
        inputs = [path.read_bytes() for path in (*corpus.iterdir(), *Path(folder).glob("failed-*"))]
        keep(target, inputs)
        tried = _DONE.search(ran.stderr)
        covered = _COVERED.findall(ran.stderr)
        print(
            f"{target.partition(':')[2]:70} {int(tried[1]) if tried else 0:>9,} inputs, {len(inputs):>4} kept, "
            f"coverage {covered[-1][0] if covered else '?'}{'' if ran.returncode == 0 else '  FAILED'}",
            flush=True,
        )
        if ran.returncode:
            print("\n".join(ran.stderr.splitlines()[-30:]))
        return ran.returncode == 0


def main() -> int:
    if sys.argv[1:2] == ["--work"]:
        _work(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", metavar="TEST", help="part of a name (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each (default: 60)")
    chosen = parser.parse_args()
    wanted = [one for one in targets() if not chosen.tests or any(word in one for word in chosen.tests)]
    good = [run(target, chosen.seconds) for target in wanted]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
