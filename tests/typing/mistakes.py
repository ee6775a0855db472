"""What mypy must refuse: one mistake a line, each with the code that it is refused by."""

import masterlight as ml

ml.StarAlignment(tolerance=2)  # call-arg
ml.StarAlignment(model="bent")  # arg-type
ml.StarAlignment().tolerance_px = 3  # misc
ml.Rejection(low="four")  # arg-type
ml.read(3)  # arg-type
ml.nothing  # attr-defined
