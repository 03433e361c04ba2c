"""Work that outlives a page: probes and long calculations in processes of their own."""
