"""The `sampan` command, with Docker's habits."""
