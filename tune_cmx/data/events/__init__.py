"""Raw events: where they are stored, how they become images, and the images that are kept."""
