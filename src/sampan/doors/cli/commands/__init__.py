"""One module per command: a `COMMAND` and what it does. Imported when called."""
