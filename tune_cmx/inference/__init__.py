"""Trained detectors in use: model folders, prediction and validation. Nothing here knows of Ray."""
