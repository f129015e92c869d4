"""The worker on another machine, reached by ssh: no server of ours, no open port, nothing to install of MAISI there.

``python -m maisi.remote HOST`` takes the place of ``python -m maisi.worker``: it understands the same lines. It starts
``ssh HOST python3``, sends MAISI's own files (kept there for the next time), and from then on the two sides exchange
frames (``wire``) over that one connection: the lines of ``maisi.protocol``, and the files that they name.

    application -- lines --> relay (here) == frames over ssh ==> server (there) -- lines --> maisi.worker

Only Python and the packages of ``Resources/MAISISynth-requirements.txt`` must be on the other machine. Everything in
this package is standard library only, on both sides.
"""
