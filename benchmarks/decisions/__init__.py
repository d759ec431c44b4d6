"""How often the product decides right: gate, drift, data gate, whole loop; on simulated truth and on real streams."""
