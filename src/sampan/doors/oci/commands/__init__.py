"""One module for each command of `sampan-oci`, imported when it is called; each has one `COMMAND`."""
