"""What is deployed: manifests, units, samples, and the container image with the tool that builds it."""
