"""Run h2spec against servers of its own, plain and TLS: `python tools/h2spec.py [h2spec's own]`.

Streams are limited to 100, since h2spec opens one more than the server says it may.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

STREAMS: Final = 100
SECTIONS: Final = ("generic", "http2", "hpack")


def main() -> int:
    gopath = Path(os.environ.get("GOPATH") or Path.home() / "go")
    program = shutil.which("h2spec") or shutil.which("h2spec", path=gopath / "bin")
    if program is None:
        print("h2spec is not installed: see the Makefile")
        return 1
    arguments = [program, *SECTIONS, "--strict", *sys.argv[1:]]
    plain = run("http", arguments)
    return run("https", [*arguments, "--tls", "--insecure"]) or plain


def run(scheme: str, arguments: list[str]) -> int:
    """h2spec's exit code."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"{scheme}://127.0.0.1:{port}"
    command = [sys.executable, "-m", "server", "--transport", "native"]
    command += ["--listen-client-urls", url, "--advertise-client-urls", url]
    command += ["--max-concurrent-streams", str(STREAMS)]
    if scheme == "https":
        command.append("--auto-tls")
    with tempfile.TemporaryDirectory() as directory:
        command += ["--data-dir", directory]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            for line in server.stderr:
                if "ready to serve client requests" in line:
                    break
            try:
                print(f"{scheme}:", flush=True)
                return subprocess.run([*arguments, "-p", str(port)], check=False).returncode
            finally:
                server.terminate()


if __name__ == "__main__":
    sys.exit(main())
