"""``python -m studies.choosing``: write the table to choose by from what was measured."""

from emcheck._internal.checkout import REPORTS
from studies.choosing.write import write_choosing

if __name__ == "__main__":
    print(write_choosing(REPORTS / "data", REPORTS))
