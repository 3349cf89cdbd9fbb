"""What differs from system to system, as pure decisions over facts that are handed in, and the one place that reads them."""
