"""The flows: one file is one flow is one deployment."""
