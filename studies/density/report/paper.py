"""The paper's bits per dimension, for the table beside ours (as printed)."""

from __future__ import annotations

#: Data set and depth -> mixing -> bits per dimension.
PAPER: dict[str, dict[str, str]] = {
    "galaxy, D = 8": {
        "1x1": "2.03 ± .026",
        "1x1+emerging": "1.98 ± .007",
        "periodic": "1.98 ± .003",
    },
    "CIFAR10, D = 8": {"1x1": "3.46 ± .005", "1x1+emerging": "3.43 ± .004"},
    "CIFAR10, D = 4": {"1x1": "3.56 ± .008", "1x1+emerging": "3.51 ± .001"},
    "ImageNet32, D = 8": {"1x1": "4.18 ± .003", "1x1+emerging": "4.16 ± .004"},
    "ImageNet32, D = 4": {"1x1": "4.28 ± .008", "1x1+emerging": "4.25 ± .002"},
    "CIFAR10, full": {"1x1": "3.36 ± .002", "1x1+emerging": "3.34 ± .002"},
    "ImageNet32, full": {"1x1": "4.09", "1x1+emerging": "4.09"},
    "ImageNet64, full": {"1x1": "3.81", "1x1+emerging": "3.81"},
}
