"""Asking models: one small protocol, and a client for each way to ask."""
