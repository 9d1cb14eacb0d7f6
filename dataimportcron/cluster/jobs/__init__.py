"""Jobs whose pods fill a volume or look at an image: their manifests, their attempts, their ends."""
