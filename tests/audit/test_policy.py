"""Tests for visrec.audit.policy: a gate that cannot tell stays shut."""

import math

import numpy as np
import pytest

from visrec.audit.engine import audit
from visrec.audit.policy import check, policy_document, read_policy
from visrec.audit.predictions import load_predictions
from visrec.errors import InputError


def test_policy_passes_fails_and_stays_shut_when_unknown(result):
    """A limit kept, a limit broken, a figure nobody knows."""
    rules = read_policy(
        [
            {"rate": "accuracy", "at_least": 0.5},
            {"gap": "accuracy", "at_most": 0.01},
            {"gap": "missing", "at_most": 0.5},
            {"gap": "missing", "at_most": 0.5, "unknown": "pass"},
            {"aif360": "statistical_parity_difference", "at_least": -0.5, "at_most": 0.5},
        ]
    )
    rulings = check(result, rules)
    assert [r.state for r in rulings] == ["passed", "failed", "unknown", "unknown", "passed"]
    assert [r.passed for r in rulings] == [True, False, False, True, True]
    assert rulings[0].cell == "b · old"
    assert policy_document(rulings)["passed"] is False


def test_a_gap_beyond_the_limit_may_be_excused_as_chance(faces):
    """Judged by `supported`, a gap that chance explains does not shut the gate; judged by interval it does."""
    rows = faces.assign(race=np.random.default_rng(0).choice(list("abc"), len(faces)))
    result = audit(load_predictions(rows), by="race", outcome="yes", replicates=300)
    gap = {"gap": "accuracy", "at_most": 0.0001}
    states = [check(result, read_policy([gap | {"judge": j}]))[0].state for j in ("value", "supported", "interval")]
    assert states == ["failed", "passed", "failed"]


@pytest.mark.parametrize("judge", ["value", "interval", "supported"])
def test_a_gate_stays_shut_for_an_aif360_metric_that_rests_on_too_few_images(faces, judge):
    """AIF360 gives a value whatever the count; as a gap of too few images, it is unknown and fails."""
    few = audit(load_predictions(faces.head(60)), by="race", outcome="yes", min_count=50, replicates=50)
    metric = few.aif360.set_index("metric").loc["statistical_parity_difference"]
    limits = {"at_least": -0.0001, "at_most": 0.0001, "judge": judge}
    rulings = check(few, read_policy([{"aif360": metric.name} | limits, {"gap": "selection_rate"} | limits]))

    assert (metric["verdict"], math.isfinite(metric["value"])) == ("too few images", True)
    assert [(r.state, r.passed) for r in rulings] == [("unknown", False)] * 2


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "holds no rules"),
        (["tpr"], "Rule 1 of the policy is 'tpr'; expected a mapping"),
        ([{"gap": "tprr", "at_most": 1}], "which is no gap. Did you mean 'tpr'"),
        ([{"gap": "tpr"}], "has no limit"),
        ([{"gap": "tpr", "atmost": 1}], "has the key 'atmost'. Did you mean 'at_most'"),
        ([{"gap": "tpr", "at_most": "low"}], "expected a number"),
        ([{"rate": "tpr", "at_least": 0.5, "judge": "supported"}], "a rate has no verdict"),
        ([{"aif360": "disparate_impact", "at_least": 0.8, "by": "age"}], "by 'age'; AIF360's metrics compare the"),
    ],
)
def test_policies_that_make_no_sense_are_explained(document, message):
    """The rule is named by its number."""
    with pytest.raises(InputError, match=message):
        read_policy(document)
