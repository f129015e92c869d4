"""A connection to a port of 127.0.0.1 through stdin and stdout, slowed down: ``slow_line.py PORT``."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

BYTES_PER_SECOND = 3_000_000
PIECE = 1 << 14


def passOn(read, write) -> None:
    while piece := read(PIECE):
        time.sleep(len(piece) / BYTES_PER_SECOND)
        write(piece)


if __name__ == "__main__":
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as line:
        threading.Thread(target=passOn, args=(lambda size: os.read(0, size), line.sendall), daemon=True).start()
        passOn(line.recv, lambda piece: os.write(1, piece))
