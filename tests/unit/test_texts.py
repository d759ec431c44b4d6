"""Texts as numbers: terms and weights worked out by hand, the same after saving, and what cannot be learnt from."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import ModelError
from pipelines.models.texts import TextEncoder, fit_text
from pipelines.settings.preparation import Hashing, Tfidf


def column(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


TEXTS = column("win cash now", "call me now", "call now", None)


def test_terms_are_the_most_frequent_then_the_first_by_name():
    """now 3, call 2; cash, me and win once each, so that 'cash' comes first among them."""
    assert fit_text("note", TEXTS, Tfidf(max_features=3, min_rows=1)).terms == ("call", "cash", "now")


def test_tfidf_is_the_count_times_the_rarity_at_length_one():
    """idf = ln((1 + 4) / (1 + rows with the term)) + 1: call ln(5/3) + 1, now ln(5/4) + 1 (smoothed)."""
    encoder = fit_text("note", TEXTS, Tfidf(min_rows=2))
    call, now = math.log(5 / 3) + 1, math.log(5 / 4) + 1
    length = math.hypot(2 * call, now)
    assert encoder.names("note") == ["note~call", "note~now"]
    assert encoder.transform(column("Call, CALL now!")) == pytest.approx(np.array([[2 * call / length, now / length]]))


def test_a_text_without_a_known_term_is_all_zero_as_is_a_missing_one():
    assert not fit_text("note", TEXTS, Tfidf(min_rows=2)).transform(column("unheard of", "", None)).any()


@pytest.mark.parametrize(
    "settings",
    [Tfidf(min_rows=1), Tfidf(unit="character", max_ngram=3), Hashing(encoder="hashing", features=8)],
    ids=["words", "characters", "hashing"],
)
def test_a_saved_encoder_gives_the_same_numbers(settings):
    encoder = fit_text("note", TEXTS, settings)
    again = TextEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    assert np.array_equal(again.transform(column("call me", "zebra")), encoder.transform(column("call me", "zebra")))
    assert encoder.transform(column("call me")).shape == (1, len(encoder.names("note")))


def test_texts_that_share_no_term_are_an_error_that_says_so():
    with pytest.raises(ModelError, match="E-TRAIN-TEXT feature 'note': no term occurs in 2 of 2 training texts"):
        fit_text("note", column("one", "other"), Tfidf())
