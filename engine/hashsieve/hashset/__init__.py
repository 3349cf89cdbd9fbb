"""Compiled hash sets: build, open, verify, look up. docs/format/hset.md is the authority on the file format."""
