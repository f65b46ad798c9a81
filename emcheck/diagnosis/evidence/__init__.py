"""Measurements on a failing layer, which the causes are tested against."""
