"""Tools that every part uses and that know nothing of layers: files, processes, machines."""
