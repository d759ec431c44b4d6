"""Messages about a pipeline: what changed first, then what stayed, what to do, and where to look."""
