"""What a probe process does, one module for each kind of probe."""
