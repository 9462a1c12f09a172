"""Cutwater and its peers side by side: what scripts/peers runs."""
