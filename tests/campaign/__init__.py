"""Bad inputs, each with the line that it must end in: ``python -m tests.campaign``."""
