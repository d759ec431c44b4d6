"""The live pages: plain data from the ledger, rendered on the server; the plugin in `plugins/` serves them."""
