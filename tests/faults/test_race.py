# SPDX-License-Identifier: MIT
"""16 threads on one handle of each image, with caches of two blocks and sources that work or fail:
race.c. Of most use in a build with the thread sanitizer."""

import os

import pytest

import corpus

SECONDS = float(os.environ.get("QCOW2_FAULT_SECONDS", "30")) / len(corpus.NAMES)


@pytest.mark.parametrize("sources", ["working", "failing"])
def test_threads_share_a_handle(run, subject, sources):
    if not subject.readable:
        pytest.skip("not to be read")
    options = ["--failing"] if sources == "failing" else []
    run("race", *options, SECONDS, "--table-cache", 9000,
        "--cluster-cache", 2 * subject.cluster + 1000, *subject.arguments())
