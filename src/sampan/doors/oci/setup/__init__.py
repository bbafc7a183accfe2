"""`sampan-oci install` and `uninstall`: docker, podman, containerd and CRI-O learn of this runtime, and forget it.

`actions` does it for any tool; a tool's module says where its configuration is, what goes into it and how the tool
is asked whether it accepts the result. A file is parsed, changed by the least text, checked and replaced whole; the
undo is exact to the byte as long as nobody else edited the file.
"""
