"""What people read in the morning: the state of every pipeline, as data and as one page."""
