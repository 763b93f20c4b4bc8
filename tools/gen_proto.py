"""Regenerates `etcdpb/*_pb2.py` and `*_pb2.pyi` from the `.proto` files beside them.

    python tools/gen_proto.py            writes what changed into etcdpb/
    python tools/gen_proto.py --check    writes nothing; exits 1 if anything would change

protoc comes with grpcio-tools. Its output depends on its version, which is therefore pinned: with
another, unchanged files would differ, and the protobuf runtime might refuse to load what it wrote.
Stubs (`*_pb2_grpc.py`) are not generated: the server reads its method tables from the descriptors.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

from grpc_tools import protoc  # type: ignore[import-untyped]  # Published without types.

GRPCIO_TOOLS_VERSION: Final = "1.85.1"  # Its code asks for protobuf 7.35.1 or newer.
ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = "etcdpb"  # Also the import path in the .proto files, so that modules say it too.


def generate(target: Path) -> None:
    """Write the generated package into `target / "etcdpb"`, which is created.

    Raises:
        RuntimeError: the installed grpcio-tools is not the pinned one, or protoc failed.
    """
    found = importlib.metadata.version("grpcio-tools")
    if found != GRPCIO_TOOLS_VERSION:
        raise RuntimeError(f"grpcio-tools {GRPCIO_TOOLS_VERSION} is needed, {found} is installed")
    target.mkdir(parents=True, exist_ok=True)
    sources = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / PACKAGE).glob("*.proto"))
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            *sources,
        ]
    )
    if code != 0:
        raise RuntimeError(f"protoc exited with {code}")


def generated_files(target: Path) -> dict[str, bytes]:
    """The generated files below `target`, by name: stale and missing ones show as a difference."""
    return {path.name: path.read_bytes() for path in sorted((target / PACKAGE).glob("*_pb2*.py*"))}


def differences(checked_in: dict[str, bytes], fresh: dict[str, bytes]) -> list[str]:
    """Names of the files that are in only one of the two, or not equal."""
    names = checked_in.keys() | fresh.keys()
    return sorted(name for name in names if checked_in.get(name) != fresh.get(name))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Regenerate etcdpb from its .proto files.")
    parser.add_argument("--check", action="store_true", help="only exit 1 on a difference")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = generated_files(Path(scratch))
    checked_in = generated_files(ROOT)
    changed = differences(checked_in, fresh)
    if options.check:
        for name in changed:
            sys.stderr.write(f"{PACKAGE}/{name} differs from what its .proto file gives\n")
        return 1 if changed else 0
    for name in changed:
        path = ROOT / PACKAGE / name
        if name in fresh:
            path.write_bytes(fresh[name])
        else:
            path.unlink()
        sys.stderr.write(f"{PACKAGE}/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
