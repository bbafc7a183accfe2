"""What a kubelet watches: statistics, metrics and events."""
