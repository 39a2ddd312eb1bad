"""What `import tune_cmx` offers, a file a subject."""
