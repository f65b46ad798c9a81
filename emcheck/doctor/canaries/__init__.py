"""The self-tests themselves: functions without arguments that yield one ``Case`` at a time.

Sizes are those of the suite: n = 4, 48, 150, 192 (a 3x8x8 layer) and 256 with batches from 1
to 8. The sizes at which the known fault gives wrong numbers come first, those at which it
hangs later.
"""
