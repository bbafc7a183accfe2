"""Who answers a call: the gRPC server, the way to ours and to the runtime behind us, and two answers made one."""
