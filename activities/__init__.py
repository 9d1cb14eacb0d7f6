"""What a workflow asks for, each a short step through the ports; no adapter, client or file is known here."""
