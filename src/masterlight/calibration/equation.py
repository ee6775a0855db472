"""The sum that calibration does, as a formula on letters."""


def equation(
    raw: str, bias: str = "", dark: str = "", flat: str = "", scaled: bool = False, holds_bias: bool = False
) -> str:
    """What happens to a frame: `equation("L", dark="D", flat="F")` is "C = (L - D) * mean(F) / F".

    raw, bias, dark, flat: what to call the frame and its masters, "" for one that is not there; scaled: whether the
    dark is multiplied with a factor k; holds_bias: whether the bias level is in the dark, which then takes it off.
    """
    terms = [raw]
    if bias and (scaled or not (dark and holds_bias)):
        terms.append(bias)
    if dark and scaled:
        terms.append(f"k ({dark} - {bias})" if bias and holds_bias else f"k {dark}")
    elif dark:
        terms.append(dark)
    left = " - ".join(terms)
    if not flat:
        return f"C = {left}"
    return f"C = ({left}) * mean({flat}) / {flat}" if " " in left else f"C = {left} * mean({flat}) / {flat}"
