"""`sampan cri`: a CRI runtime for the kubelet, which runs Wasm pods itself and passes all others on.

It is one process with threads and gRPC. Its truth is on disk, and the containers are no children of it: it may be
killed at any moment.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # read when grpc is imported: what forks here executes at once
