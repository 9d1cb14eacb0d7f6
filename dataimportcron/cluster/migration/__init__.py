"""From CDI to us and back, in steps that can be taken again."""
