"""Registries by the OCI distribution specification 1.1: pull, push, tags, login.

From the outside in: `transfer` moves whole images between a registry and the content store; `client`, `downloads`
and `uploads` are the calls of one registry; `auth` answers its challenges; `exchange` is one bounded HTTP exchange
and `answer` what comes back; `redirects` decides where it may lead. `settings` and `credentials` are what the user
configured, `documents` reads manifests. The HTTP library is imported when the first request is made.
"""
