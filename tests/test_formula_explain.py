import numpy as np
import pytest

from masterlight.subframes.formula.explain import explain, reasons, terms
from masterlight.subframes.formula.expression import Expression

TUTORIAL = "(35*(1-(FWHM-3.008)/(4.003-3.008)) + 5*(1-(Eccentricity-0.3663)/(0.5712-0.3663)) + 10*(1-(Noise-107.6)/(117.5-107.6)))+50"  # noqa: E501
NIGHT = {
    "FWHM": np.array([3.25, 4.2, np.nan]), "Eccentricity": np.array([0.45, 0.45, 0.7]),
    "Noise": np.array([110.0, 110.0, 111.0]), "PSFScaleSNR": np.array([1.0, 0.5, 0.7]),
}  # fmt: skip


def test_authority_shares_of_the_tutorial():
    # Published to ten decimals.
    found = terms(Expression(TUTORIAL), NIGHT)
    assert [float(term.values[0]) for term in found] == pytest.approx(
        [26.4874371859, 2.9575402635, 7.5757575758, 50], abs=1e-9
    )
    assert found[0].text == "35*(1-(FWHM-3.008)/(4.003-3.008))" and found[3].text == "50"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tutorial", ["35*inv(FWHM)", "5*inv(Eccentricity)", "10*inv(Noise)", "50"]),
        ("(FWHM + 2*Noise) * PSFScaleSNR / 3", ["FWHM * PSFScaleSNR / 3", "2*Noise * PSFScaleSNR / 3"]),
        ("2 * (FWHM - Noise)", ["2 * FWHM", "2 * -Noise"]), ("-(FWHM - 1) - -Noise", ["-FWHM", "1", "Noise"]),
        ("FWHM < 4 ? 1 + FWHM : 2", ["FWHM < 4 ? 1 + FWHM : 2"]), ("1/(FWHM + Noise)", ["1/(FWHM + Noise)"]),
        ("3 - (FWHM + 2*(1 - Noise))", ["3", "-FWHM", "-2*(1 - Noise)"]), ("+FWHM", ["+FWHM"]),
    ],
)  # fmt: skip
def test_truth_terms_add_up_to_the_weight(text, parts):
    formula = Expression(text)
    found = terms(formula, NIGHT)
    assert [term.text for term in found] == parts
    assert np.sum([t.values for t in found], axis=0) == pytest.approx(formula.evaluate(NIGHT), rel=1e-12, nan_ok=True)


def test_truth_a_frame_is_explained():
    assert explain(Expression(TUTORIAL), NIGHT, 0) == [
        "weight 87.0207: FWHM 3.25, Eccentricity 0.45, Noise 110",
        "     26.4874    30.4 %  35*(1-(FWHM-3.008)/(4.003-3.008))",
        "     2.95754     3.4 %  5*(1-(Eccentricity-0.3663)/(0.5712-0.3663))",
        "     7.57576     8.7 %  10*(1-(Noise-107.6)/(117.5-107.6))",
        "          50    57.5 %  50",
    ]
    approval = Expression("FWHM < 4 && Eccentricity < 0.6")
    assert explain(approval, NIGHT, 1) == [
        "not approved: FWHM 4.2, Eccentricity 0.45", "   no  FWHM < 4", "  yes  Eccentricity < 0.6"
    ]  # fmt: skip
    assert explain(approval, NIGHT, 2)[1:] == ["    ?  FWHM < 4", "   no  Eccentricity < 0.6"]
    unknown = explain(Expression("FWHM < 4"), NIGHT, 2)
    assert unknown[0] == "not approved, for not all is known: FWHM nan"
    assert explain(Expression("0"), NIGHT, 0) == ["weight 0", "           0            0"]


def test_truth_reasons_name_what_fails():
    approval = Expression("FWHM < 4 && Eccentricity < 0.6")
    assert reasons(approval, NIGHT) == [
        "", "fails FWHM < 4 (FWHM 4.2)",
        "FWHM could not be measured; fails Eccentricity < 0.6 (Eccentricity 0.7)",
    ]  # fmt: skip
    assert reasons(Expression("FWHMSigma < 0 && FWHMMax > 0"), NIGHT)[2] == "FWHM could not be measured"
    assert reasons(Expression("false"), NIGHT) == ["fails false"] * 3
    for i, (verdict, why) in enumerate(zip(approval.evaluate(NIGHT), reasons(approval, NIGHT), strict=True)):
        assert bool(verdict) is not bool(why), i


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5 - FWHM", ["", "", "FWHM could not be measured"]),
        ("4 - FWHM", ["", "its weight is -0.2, less than 0 (FWHM 4.2)", "FWHM could not be measured"]),
        ("-1", ["its weight is -1, less than 0"] * 3),
        ("1/(FWHM-4.2)", ["less than 0", "its weight is inf, divided by 0 (FWHM 4.2)", "could not"]),
        ("log(FWHM-4)", ["its weight has no value (FWHM 3.25): 0 / 0, or log", "less than 0", "could not"]),
        ("(Noise-NoiseMin)/(NoiseMax-NoiseMin)", ["", "", ""]), ("tutorial", ["", "", "FWHM could"]),
    ],
)  # fmt: skip
def test_truth_reasons_of_weights(text, words):
    for wanted, told in zip(words, reasons(Expression(text), NIGHT), strict=True):
        assert wanted in told and bool(wanted) is bool(told) and len(told) < 200


def test_truth_reasons_where_all_frames_are_alike():
    alike = {"FWHM": np.full(2, 3.0)}
    told = reasons(Expression("1-(FWHM-FWHMMin)/(FWHMMax-FWHMMin)"), alike)
    assert told == ["its weight has no value (FWHM 3, FWHMMin 3, FWHMMax 3): 0 / 0, or log or root of less than 0"] * 2
    assert reasons(Expression("inv(FWHM)"), alike) == ["", ""]
