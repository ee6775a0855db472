"""Levels and noises in words: with as many digits as it takes to tell something."""


def figure(value: float, places: int = 1, sign: bool = False) -> str:
    """A figure in DN: so many places, and three digits where those would tell less than two.

    `figure(512.34)` is "512.3"; `figure(0.0076295)`, of a frame whose values go from 0 to 1, is "0.00763".
    """
    small = value != 0 and abs(value) < 10.0 ** (1 - max(1, places))
    return format(value, f"{'+' if sign else ''}.{'3g' if small else f'{places}f'}")
