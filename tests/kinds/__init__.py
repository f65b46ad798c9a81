"""Small layers as others write them: of each kind a right one, a wrong one, or both."""
