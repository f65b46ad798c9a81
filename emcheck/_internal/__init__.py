"""Tools that every part uses and that do not know about layers: files, processes, machines."""
