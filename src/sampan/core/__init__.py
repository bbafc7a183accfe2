"""Pure values and rules: errors, records, references, digests, the OCI documents, detection.

No I/O, no clock, no third-party import; every other room may import this one, it imports none.
"""
