"""How registries are reached from a cluster: credentials, certificates, proxies, mirrors."""
