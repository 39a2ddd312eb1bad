"""Earlier results, made elsewhere, as a study's folder: each run a record that is marked as imported."""
