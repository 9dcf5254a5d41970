"""The same command with the same seed gives the same run; another seed gives another."""

import pytest
import torch

from halo_forge.store.records import read_records

pytestmark = [pytest.mark.model, pytest.mark.toolchain("g++"), pytest.mark.timeout(1500)]


def test_the_same_seed(begin, undisturbed, journey, tmp_path):
    """In a fresh directory the samples, the verdicts, the kept set and the adapter are the same."""
    attempt = begin(tmp_path / "again")
    assert attempt.wait() == 0, attempt.said
    again = journey(attempt.run)
    assert again.samples == undisturbed.samples
    assert again.verdicts == undisturbed.verdicts
    assert again.kept == undisturbed.kept
    for name, weight in undisturbed.adapter.items():
        torch.testing.assert_close(again.adapter[name], weight, atol=1e-6, rtol=0)


def test_another_seed(begin, undisturbed, tmp_path):
    """With another seed the same prompts get other answers."""
    attempt = begin(tmp_path / "other", seed=8)
    attempt.until(lambda: attempt.generated >= 4)
    attempt.kill()
    found = {r["id"]: r["token_ids"] for r in read_records(attempt.run.samples_path(1))}
    same = [key for key in found if found[key] == undisturbed.samples[key]["token_ids"]]
    assert len(found) >= 4
    assert len(same) <= 1  # the shortest answers may coincide
