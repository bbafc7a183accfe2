"""From the API's configurations of pods and containers to OCI specs: each field that we follow, and each refusal."""
