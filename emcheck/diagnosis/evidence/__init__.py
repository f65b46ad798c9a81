"""Measurements on a failing layer, against which causes are tested."""
