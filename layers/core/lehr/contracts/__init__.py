"""The documents that cross a process boundary: frozen types with a schema version, unknown fields refused."""
