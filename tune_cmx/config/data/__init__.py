"""Sections of `data` in a configuration."""
