"""Where an image comes from: a registry, an OCI archive, a plain file; each is an `ImageReader`."""
