"""The messages of CRI v1: `runtime.proto`, and what `make proto` makes of it."""
