"""`sampan cri`: a CRI runtime for the kubelet, which runs Wasm pods itself and passes all others on.

    main, assembly      the command's options, and the parts put together
    routing             the gRPC server; who answers a call: we, the runtime behind us, or both
    pods                pod sandboxes and their containers, from the call to the documents on disk
    specs               the API's configurations as OCI specs
    images, network     the ImageService on our store; CNI
    execution, streaming    programs and clients in containers; the HTTP server that clients come to
    observing           statistics, metrics, events
    documents           what is on disk of pods; `errors`, `filters`, `measured` and `api` (the messages) are for all

It is one process with threads and gRPC. Its truth is on disk, and the containers are no children of it: it may be
killed at any moment.
"""

import os

os.environ.setdefault(
    "GRPC_ENABLE_FORK_SUPPORT", "0"
)  # read when grpc is imported: what forks here executes at once
