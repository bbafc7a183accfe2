"""A process beside a container that runs one more program in it: what `exec` and `execSync` of the server start.

The server has threads, so it forks no containers itself. The executor and it talk over a socket of packets, whose end
is the program's end: so nothing goes on when the server is killed, or its client leaves.
"""
