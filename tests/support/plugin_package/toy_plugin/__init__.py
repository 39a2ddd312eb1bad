"""A fusion, a metric, a searcher, a reader and a logger, each in a file of its own."""
