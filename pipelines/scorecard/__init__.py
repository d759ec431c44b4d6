"""The ML Test Score (Breck et al., 2017) of a pipeline, from what its own runs recorded."""
