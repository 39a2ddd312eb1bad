"""Findings of an audit: as data, in the run folder, and printed together."""

import pytest

from tune_cmx.errors import DataError
from tune_cmx.model_audit import AuditWarning, merged

SHARE = AuditWarning("{share} of the channels matter", part="fusion", module="CssaFusion", stage=1, share=0.254)


def test_a_finding_names_its_place_and_its_share() -> None:
    assert str(SHARE) == "fusion stage 1 (CssaFusion): 25 % of the channels matter"
    assert str(AuditWarning("nothing learns")) == "nothing learns"


def test_findings_that_differ_in_stage_share_and_configuration_are_one_line() -> None:
    other = AuditWarning(SHARE.text, part="fusion", module="CssaFusion", stage=4, share=0.5)
    frozen = AuditWarning("no gradient", "no_gradient", "stream aux")
    assert merged([("A", SHARE), ("B", other), ("B", frozen)]) == [
        "fusion stage 1+4 (CssaFusion): 25 to 50 % of the channels matter (2 configurations)",
        "stream aux: no gradient (B)",
    ]


def test_the_run_folder_gives_back_what_was_found() -> None:
    assert AuditWarning.read(SHARE.as_record()) == SHARE


def test_a_sentence_of_an_older_study_keeps_its_words() -> None:
    sentence = "fusion stage 1 (CssaFusion): gate 'hard' gives eca no gradient: it stays as drawn"
    found = AuditWarning.read(sentence)
    assert (found.kind, found.part, found.module, found.stage) == ("no_gradient", "fusion", "CssaFusion", 1)
    assert str(found) == sentence
    assert str(AuditWarning.read("stream aux: no gradient")) == "stream aux: no gradient"


@pytest.mark.parametrize("entry", [None, 3, {}, {"text": 1}, {"text": "a", "kind": "odd"}, {"text": "a", "more": 1}])
def test_a_damaged_entry_is_an_error(entry: object) -> None:
    with pytest.raises(DataError, match="audit_warnings: an entry needs text"):
        AuditWarning.read(entry)
