"""Formats times and scores for tables and pages."""


def format_time(seconds: float) -> str:
    """1:02:03.4, or 2:03.4 below an hour."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{rest // 10:02}.{rest % 10}"


def format_score(value: float | None, digits: int = 3) -> str:
    """A score; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def format_difference(value: float | None, low: float | None, high: float | None) -> str:
    """A difference of scores with its interval, if it has one; a dash for None."""
    if value is None:
        return "–"
    return f"{value:+.3f}" if low is None or high is None else f"{value:+.3f} ({low:+.2f} to {high:+.2f})"
