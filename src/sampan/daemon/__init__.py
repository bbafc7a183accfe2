"""What a server that stays needs beside its protocol: a lock, a socket, log lines, signals, a word to systemd.

A room of long-lived processes of their own: they may have threads, and the standard library's modules for them.
"""
