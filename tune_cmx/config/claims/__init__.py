"""The claims of a search-space file."""
