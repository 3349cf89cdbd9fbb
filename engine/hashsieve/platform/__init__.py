"""What differs from system to system: pure decisions over facts that are handed in, and the one place to read them."""
