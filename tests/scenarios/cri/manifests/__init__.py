"""The manifests that people apply, unchanged."""
