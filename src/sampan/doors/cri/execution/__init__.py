"""Programs and clients in running containers: exec, attach and port-forward, from the call to the copied bytes."""
