"""What differs from run to run gets a name, so that outputs can be compared to the letter.

Leases are named L1, L2, … in the order their grants were seen, in hexadecimal as in decimal. The
names work both ways: a command may say L1 or MEMBER and reaches the server with what is behind it.
"""

import re
from typing import Final

_GRANT_TEXT: Final = re.compile(r"lease ([0-9a-f]{16}) granted with TTL\(\d+s\)$", re.MULTILINE)
_GRANT_JSON: Final = re.compile(r'"ID":(\d+),"TTL":\d+,"Error"')
_LEASE_NAME: Final = re.compile(r"\bL\d+\b")
_REMAINING: Final = re.compile(
    r"TTL\((\d+)s\), remaining\((\d+)s\)|\"ttl\":(\d+),\"granted-ttl\":(\d+)"
)
_ATTACHED: Final = re.compile(r"attached keys\(\[([^\]]*)\]\)")
_KEYS_JSON: Final = re.compile(r'"keys":\[([^\]]*)\]')
_TOOK: Final = re.compile(r'(took = |"took":")[^\s"]+')
_TERM: Final = re.compile(r'("raft_term":|"RaftTerm" : )\d+')

TTL_SPENT_MAX_S: Final = 5  # Between a grant and a question about it, on a slow machine.


class Masks:
    """The names given so far in one transcript."""

    def __init__(self, *, cluster_id: int, member_id: int, endpoint: str) -> None:
        self._names: dict[str, str] = {
            # Over TLS a session looks the same, but for this.
            f"https://{endpoint}": "http://ENDPOINT",
            endpoint: "ENDPOINT",
        }
        for number, name in ((cluster_id, "CLUSTER"), (member_id, "MEMBER")):
            self._names[str(number)] = name
            self._names[f"{number:x}"] = name
        self._member = f"{member_id:x}"
        self._leases: list[str] = []  # Hexadecimal, in order of their grants.

    def mask(self, output: str) -> str:
        """`output` with names for what is known, after learning the leases granted in it."""
        granted = [int(text, 16) for text in _GRANT_TEXT.findall(output)]
        granted += [int(text) for text in _GRANT_JSON.findall(output)]
        for lease_id in granted:
            self._learn(lease_id)
        for value, name in self._names.items():
            output = output.replace(value, name)
        output = _REMAINING.sub(_mask_remaining, output)
        output = _ATTACHED.sub(_sort_attached, output)
        output = _KEYS_JSON.sub(_sort_keys, output)
        output = _TOOK.sub(r"\1DURATION", output)
        return _TERM.sub(r"\1TERM", output)

    def unmask(self, command: str) -> str:
        """`command` with every name replaced by the identifier it stands for."""
        return _LEASE_NAME.sub(self._identifier, command).replace("MEMBER", self._member)

    def _learn(self, lease_id: int) -> None:
        hexadecimal = f"{lease_id:016x}"
        if hexadecimal not in self._names:
            self._leases.append(hexadecimal)
            self._names[hexadecimal] = self._names[str(lease_id)] = f"L{len(self._leases)}"

    def _identifier(self, name: re.Match[str]) -> str:
        number = int(name[0][1:])
        return self._leases[number - 1] if number <= len(self._leases) else name[0]


def _mask_remaining(found: re.Match[str]) -> str:
    """Seconds left of a lease granted a moment ago; a value that cannot be so stays as it is."""
    granted, left = (found[1], found[2]) if found[1] else (found[4], found[3])
    if not 0 < int(granted) - int(left) <= TTL_SPENT_MAX_S:
        return found[0]
    if found[1]:
        return f"TTL({granted}s), remaining(FRESH)"
    return f'"ttl":FRESH,"granted-ttl":{granted}'


def _sort_attached(found: re.Match[str]) -> str:
    """etcd lists attached keys in no order (a Go map), so no order is part of the comparison."""
    return f"attached keys([{' '.join(sorted(found[1].split()))}])"


def _sort_keys(found: re.Match[str]) -> str:
    return f'"keys":[{",".join(sorted(found[1].split(",")))}]'
