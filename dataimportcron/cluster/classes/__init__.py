"""Storage classes: what is known of them, and so what a volume is asked for."""
