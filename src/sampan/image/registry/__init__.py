"""Registries by the OCI distribution specification 1.1: pull, push, tags, login.

From the outside in: `transfer` moves whole images between a registry and the content store, `client` and
`uploads` are the calls of one registry, `auth` answers its challenges, `exchange` is one bounded HTTP exchange,
and `redirects` decides where it may go. `settings` and `credentials` are what the user configured.
Nothing of this is imported by commands that do not speak to a registry.
"""
