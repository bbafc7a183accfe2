"""`sampan-oci`: runc's command line for Wasm bundles; Linux bundles go to runc, crun or youki, unchanged."""
