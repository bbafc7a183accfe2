"""The OCI documents as records: `runtime` (config.json, state), `image` (manifest, index, config)."""
