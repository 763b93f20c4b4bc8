"""Runs a program and stops it at the system calls that decide what a power cut leaves.

A small tracer on ptrace and seccomp, by ctypes alone: no compiler and no tool has to be there.
The kernel stops the program only at calls that make data or names durable, or change names; at
every other call it runs at full speed. Calls are let through one at a time: from the moment a
watcher is told that one begins until it is told that it has ended, no other one runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, Protocol

SYNCS: Final = ("fsync", "fdatasync")

# Numbers of the kernel's ABI (arch/x86/entry/syscalls, include/uapi/asm-generic/unistd.h).
_NUMBERS: Final = {
    "x86_64": {
        "open": 2, "openat": 257, "creat": 85, "fsync": 74, "fdatasync": 75, "truncate": 76,
        "ftruncate": 77, "rename": 82, "renameat": 264, "renameat2": 316, "mkdir": 83,
        "mkdirat": 258, "rmdir": 84, "link": 86, "linkat": 265, "unlink": 87, "unlinkat": 263,
    },
    "aarch64": {
        "openat": 56, "fsync": 82, "fdatasync": 83, "truncate": 45, "ftruncate": 46,
        "renameat": 38, "renameat2": 276, "mkdirat": 34, "linkat": 37, "unlinkat": 35,
    },
}  # fmt: skip
_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_RESULT_REGISTER: Final = {"x86_64": 10, "aarch64": 0}  # Its place among the saved registers.
_FLAGS_ARGUMENT: Final = {"open": 1, "openat": 2}  # Stopped at only if they make or empty a file.

_TRACEME, _CONT, _SYSCALL, _SETOPTIONS, _GETREGSET = 0, 7, 24, 0x4200, 0x4204
_OPTIONS: Final = 0x1 | 0x2 | 0x4 | 0x8 | 0x80 | 0x100000  # sysgood, forks, seccomp, exitkill
_EVENT_SECCOMP: Final = 7
_SYSCALL_STOP: Final = signal.SIGTRAP | 0x80
_WALL: Final = 0x40000000
_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_RET_TRACE, _RET_ALLOW = 0x7FF00000, 0x7FFF0000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


@dataclass(frozen=True, slots=True)
class Call:
    """One system call of a program under trace."""

    name: str
    thread: int
    arguments: tuple[int, ...]

    def path(self) -> str:
        """Of the file that a sync is about; empty if the process is ending just now."""
        try:
            return os.readlink(f"/proc/{self.thread}/fd/{self.arguments[0]}")
        except FileNotFoundError:
            return ""


class Watcher(Protocol):
    def begins(self, call: Call) -> None: ...

    def ended(self, call: Call, *, well: bool) -> None: ...


def is_possible() -> bool:
    """Whether this machine's kernel lets a process trace its child."""
    if platform.machine() not in _NUMBERS:
        return False
    pid = os.fork()
    if not pid:
        os._exit(0 if _libc.ptrace(_TRACEME, 0, None, None) == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


def run(command: Sequence[str], watcher: Watcher) -> int:
    """Run `command` to its end; returns its exit code, negative if a signal ended it.

    The calling process must have no other children.
    """
    machine = platform.machine()
    names = {number: name for name, number in _NUMBERS[machine].items()}
    pid = os.fork()
    if not pid:
        _become(command, machine)
    os.waitpid(pid, 0)
    _ptrace(_SETOPTIONS, pid, _OPTIONS)
    _ptrace(_CONT, pid, 0)
    while True:
        thread, status = os.waitpid(-1, _WALL)
        if not os.WIFSTOPPED(status):
            if thread == pid:
                return os.waitstatus_to_exitcode(status)
            continue
        number = os.WSTOPSIG(status)
        event = status >> 16
        if event == _EVENT_SECCOMP:
            if (code := _let_through(thread, names, watcher, machine)) is not None:
                if thread == pid:
                    return code
                continue
            number = 0
        elif event or number in (signal.SIGSTOP, signal.SIGTRAP, _SYSCALL_STOP):
            number = 0
        _go_on(_CONT, thread, number)


def _let_through(thread: int, names: dict[int, str], watcher: Watcher, machine: str) -> int | None:
    """One call from its beginning to its end; returns an exit code if it was the last."""
    try:
        fields = Path(f"/proc/{thread}/syscall").read_text(encoding="ascii").split()
    except OSError:
        fields = []
    if len(fields) < 7:  # It has been killed, and its end is about to be told.
        _go_on(_CONT, thread, 0)
        return None
    call = Call(names[int(fields[0])], thread, tuple(int(each, 16) for each in fields[1:7]))
    watcher.begins(call)
    _go_on(_SYSCALL, thread, 0)
    while True:
        _, status = os.waitpid(thread, _WALL)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        if os.WSTOPSIG(status) == _SYSCALL_STOP:
            break
        _go_on(_SYSCALL, thread, 0 if status >> 16 else os.WSTOPSIG(status))
    try:
        well = _result(thread, machine) >= 0
    except ProcessLookupError:
        well = False
    watcher.ended(call, well=well)
    return None


def _become(command: Sequence[str], machine: str) -> NoReturn:
    """In the child: be traced, ask to be stopped at the calls of interest, run `command`."""
    try:
        _ptrace(_TRACEME, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        program = _filter(machine)
        code = ctypes.create_string_buffer(program)
        header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
        if _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or _libc.prctl(
            _SET_SECCOMP, _MODE_FILTER, ctypes.create_string_buffer(header), 0, 0
        ):
            os._exit(126)
        os.execv(command[0], list(command))
    finally:
        os._exit(127)


def _filter(machine: str) -> bytes:
    """The BPF program that says at which calls to stop."""
    instruction = struct.Struct("HBBI")
    program = [
        instruction.pack(_LOAD, 0, 0, 4),  # The architecture.
        instruction.pack(_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        instruction.pack(_RETURN, 0, 0, _RET_ALLOW),
        instruction.pack(_LOAD, 0, 0, 0),  # The number of the call.
    ]
    for name, number in _NUMBERS[machine].items():
        argument = _FLAGS_ARGUMENT.get(name)
        if argument is None:
            program.append(instruction.pack(_EQUAL, 0, 1, number))
        else:
            program += [
                instruction.pack(_EQUAL, 0, 4, number),
                instruction.pack(_LOAD, 0, 0, 16 + 8 * argument),
                instruction.pack(_ANY_BIT, 1, 0, os.O_CREAT | os.O_TRUNC),
                instruction.pack(_RETURN, 0, 0, _RET_ALLOW),
            ]
        program.append(instruction.pack(_RETURN, 0, 0, _RET_TRACE))
    program.append(instruction.pack(_RETURN, 0, 0, _RET_ALLOW))
    return b"".join(program)


def _result(thread: int, machine: str) -> int:
    registers = ctypes.create_string_buffer(512)
    vector = ctypes.create_string_buffer(
        struct.pack("QQ", ctypes.addressof(registers), len(registers))
    )
    _ptrace(_GETREGSET, thread, ctypes.addressof(vector), 1)
    (result,) = struct.unpack_from("q", registers, 8 * _RESULT_REGISTER[machine])
    return int(result)


def _go_on(request: int, thread: int, number: int) -> None:
    """Let a thread run on; it may have been killed while it stood."""
    with contextlib.suppress(ProcessLookupError):
        _ptrace(request, thread, number)


def _ptrace(request: int, pid: int, data: int, address: int = 0) -> None:
    if _libc.ptrace(request, pid, address, data) == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
