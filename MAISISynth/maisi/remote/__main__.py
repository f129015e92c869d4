"""``python -m maisi.remote HOST``: the worker on another machine, with the stdin, stdout and stderr of a local one."""

from __future__ import annotations

import argparse

from maisi.remote.relay import Relay

WORKER = ["-m", "maisi.worker", "--own-group"]


def main() -> None:
    """Connect and serve."""
    parser = argparse.ArgumentParser(prog="python -m maisi.remote", description=__doc__)
    parser.add_argument("host", help="HOST, USER@HOST or ssh://USER@HOST:PORT, with a key and without a password")
    parser.add_argument("--python", default="python3", help="the Python on that machine (default %(default)s)")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what that Python runs (default: the worker)")
    options = parser.parse_args()
    Relay(options.host, options.python, options.arguments or WORKER).run()


if __name__ == "__main__":
    main()
