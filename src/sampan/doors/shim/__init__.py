"""`containerd-shim-sampan-v1`: containerd's Task API for Wasm images; Linux containers of a pod go to runc or crun."""
