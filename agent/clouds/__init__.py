"""One module a platform; the settings say which one is loaded."""
