"""Mutation testing of the checks and their bounds: ``python -m tests.mutation``.

One mutant is the source of one module with one node changed. Some test has to notice it, or it
stands in :mod:`tests.mutation.equivalent` with the reason why no test can.
"""
