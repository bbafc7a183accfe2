"""Library code for tests, useful to users too: an in-memory registry with faults, tar and image makers."""
