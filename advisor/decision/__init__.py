"""Decision: scenario -> tree -> search -> ranking -> explanation."""
