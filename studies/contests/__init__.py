"""Solvers and layers side by side, and whole flows; ``emcheck compare``."""
