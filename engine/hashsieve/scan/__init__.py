"""Scanning: which digests to compute, how files are read, and what comes of each."""
