"""The ssh program: its command line, its environment, and what its failures mean for the user."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence

CHANGES = "MAISI_SSH_ENVIRONMENT"  # a variable: JSON {name: value before, or null}

# Nobody can answer a question here, so whatever ssh would ask is a failure with advice. The user's own configuration
# is used (keys, port, jump hosts, a connection that is already open), but nothing in it that is not for a pipe.
OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
    "ControlMaster": "no",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}

# The program itself comes through the pipe: this line has no character that any shell would touch between the quotes.
FIRST_PROGRAM = '-c "import sys;exec(sys.stdin.buffer.readline())"'

_CAUSES = (
    (
        r"Could not resolve hostname",
        "the computer {host} is not known: check the name, and the VPN if it needs one",
    ),
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the key of {host} is not the one it had before: ask its administrator, then remove the old key with "
        "`ssh-keygen -R`",
    ),
    (
        r"Host key verification failed|No .*host key is known",
        "{host} is not known to ssh yet: run `ssh {host}` once in a terminal and accept its key",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "{host} refused the login: ssh must work there without a password, so run `ssh-copy-id {host}` in a terminal, "
        "and `ssh-add` if your key has a passphrase",
    ),
    (
        r"Connection refused|timed out|No route to host|Network is unreachable|Connection closed|Connection reset",
        "{host} does not answer: check that it is on, that it runs an ssh server, and the VPN if it needs one",
    ),
)


def command(host: str, python: str) -> list[str]:
    """The command line that starts ``python`` on ``host``; it then reads its program from stdin, in one line.

    Args:
        host: as for ssh: ``HOST``, ``USER@HOST``, ``ssh://USER@HOST:PORT`` or a name of the user's ssh configuration.
        python: the command that the login shell there understands, ``python3`` or a path, with its own quotes.
    """
    options = [word for name, value in OPTIONS.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", *options, "--", host, f"{python} {FIRST_PROGRAM}"]


def note_changes(environment: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """A variable to add to ``environment`` of the relay, from which ssh gets back what was changed since ``before``.

    The relay's Python may need Slicer's variables, but ssh must not load Slicer's libraries.
    """
    names = {name for name in {*environment, *before} if environment.get(name) != before.get(name)}
    return {CHANGES: json.dumps({name: before.get(name) for name in sorted(names)})}


def environment() -> dict[str, str]:
    """The environment for ssh: that of this process, without the changes that ``note_changes`` noted."""
    restored = {**os.environ, **json.loads(os.environ.get(CHANGES, "{}"))}
    return {name: value for name, value in restored.items() if value is not None and name != CHANGES}


def explain(host: str, python: str, code: int, said: Sequence[str]) -> str:
    """Why the other machine's Python did not start, in one sentence with advice.

    Args:
        code: exit code of ssh; 255 is its own, others are those of the remote command. said: its lines on stderr.
    """
    text = "\n".join(said)
    last = next((line.strip() for line in reversed(said) if line.strip()), f"exit code {code}").rstrip(".")
    if code == 255:
        known = (reason for pattern, reason in _CAUSES if re.search(pattern, text))
        reason = next(known, f"ssh could not connect to {{host}}: try `ssh {{host}}` in a terminal ({last})")
        return f"No connection: {reason.format(host=host)}."
    if code in (126, 127, 9009) or "not recognized" in text:
        return (
            f"There is no Python that can be run as '{python}' on {host}: name another one in the settings, with its "
            "full path."
        )
    return f"'{python}' on {host} did not start MAISI ({last}): name another Python in the settings."
