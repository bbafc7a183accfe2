"""The streams of exec, attach and port-forward: an HTTP server that upgrades to SPDY/3.1 or WebSocket.

    server         accepts, reads the request (`requests`), checks its one-time token (`tokens`), upgrades
    pipes          a client's connection as bytes both ways; `websocket.Messages` is one inside another
    streams        one stream of a connection, whatever multiplexes it
    spdy, websocket    what multiplexes streams
    remotecommand, portforward    what Kubernetes speaks over them

All of it runs in one thread, on an event loop: a client costs a few tasks, and all that is known of it goes with them.
"""
