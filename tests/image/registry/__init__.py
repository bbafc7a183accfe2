"""Tests of the registry client; a package, so that they can share what `conftest` has."""
