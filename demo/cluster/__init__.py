"""The demonstration on Kubernetes: a real cluster, the container image, deploy/, and the documentation's YAML."""
