"""Protocols as bytes in, events out: framing and encoding, without any I/O. May import nothing but `core`."""
