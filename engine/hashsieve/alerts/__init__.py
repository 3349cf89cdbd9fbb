"""Alerts: what a match becomes, how it survives, and how it reaches whoever must know."""
