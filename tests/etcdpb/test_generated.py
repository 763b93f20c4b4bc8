"""The generated code that is checked in is what the `.proto` files beside it give.

The generator works on the tree it stands in, so most tests give it a copy of that tree to spoil.
"""

from __future__ import annotations

import doctest
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
MODULES: Final = ("auth", "health", "kv", "lease", "rpc", "v3election", "v3lock")


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python on `arguments` in `directory`; whether it may fail is for the test to say."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=directory, capture_output=True, text=True, check=False
    )


def regenerate(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(tree, "tools/gen_proto.py", *options)


def generated(tree: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tree / "etcdpb").glob("*_pb2*")}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The `.proto` files and the generator, with nothing generated yet."""
    (tmp_path / "etcdpb").mkdir()
    (tmp_path / "tools").mkdir()
    for source in (ROOT / "etcdpb").glob("*.proto"):
        shutil.copy(source, tmp_path / "etcdpb")
    shutil.copy(ROOT / "tools" / "gen_proto.py", tmp_path / "tools")
    return tmp_path


def test_generating_from_nothing_gives_the_files_that_are_checked_in(tree: Path) -> None:
    done = regenerate(tree)
    assert done.returncode == 0, done.stderr
    assert sorted(generated(tree)) == sorted(
        f"{module}_pb2{suffix}" for module in MODULES for suffix in (".py", ".pyi")
    )
    assert generated(tree) == generated(ROOT)


def test_check_passes_only_while_files_and_protos_agree_and_writes_nothing(tree: Path) -> None:
    for name, content in generated(ROOT).items():
        (tree / "etcdpb" / name).write_bytes(content)
    assert regenerate(tree, "--check").returncode == 0

    proto = tree / "etcdpb" / "kv.proto"
    proto.write_text(proto.read_text().replace("int64 lease = 6", "int64 lease = 7"))
    refused = regenerate(tree, "--check")
    assert refused.returncode == 1
    assert refused.stderr == "etcdpb/kv_pb2.py differs from what its .proto file gives\n"
    assert generated(tree) == generated(ROOT)

    assert regenerate(tree).returncode == 0
    assert regenerate(tree, "--check").returncode == 0


def test_what_no_proto_gives_any_more_is_removed(tree: Path) -> None:
    assert regenerate(tree).returncode == 0
    (tree / "etcdpb" / "v3lock.proto").unlink()
    assert regenerate(tree, "--check").returncode == 1
    assert regenerate(tree).returncode == 0
    assert not any(name.startswith("v3lock") for name in generated(tree))


def test_every_module_loads_without_grpc() -> None:
    """The core imports the messages; only the server's edge may bring in a transport."""
    imports = ", ".join(f"etcdpb.{module}_pb2" for module in MODULES)
    done = run(ROOT, "-W", "error", "-c", f"import sys, {imports}; sys.exit('grpc' in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_the_package_carries_its_protos_and_its_types() -> None:
    names = {resource.name for resource in files("etcdpb").iterdir()}
    assert {"py.typed", "README.md"} <= names
    for module in MODULES:
        assert {f"{module}.proto", f"{module}_pb2.py", f"{module}_pb2.pyi"} <= names


def test_the_example_in_the_readme_holds() -> None:
    results = doctest.testfile(str(ROOT / "etcdpb" / "README.md"), module_relative=False)
    assert results.attempted == 5
    assert results.failed == 0
