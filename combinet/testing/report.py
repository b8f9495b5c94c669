"""The report of several checks, one line for each."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from combinet.errors import InputError
from combinet.testing.numbers import Finding

Check = TypeVar("Check", bound="Callable[..., Finding]")


@dataclass(frozen=True)
class Result:
    """The result of one check.

    Args:
        name: Name of the check, such as "check_backprop".
        outcome: "passed", "failed" or "skipped".
        details: The numbers measured, what is wrong, or why the check was skipped.

    Example:
        >>> Result("check_pure", "passed", "12 numbers, all equal").outcome
        'passed'
    """

    name: str
    outcome: str
    details: str


@dataclass(frozen=True)
class Report:
    """The results of all checks of a model. Its text has a line for each.

    Args:
        title: What was checked.
        results: Results in the order of the checks.

    Example:
        >>> Report("linear", (Result("check_pure", "passed", "12 numbers, all equal"),))
        linear: 1 passed
          check_pure  passed   12 numbers, all equal
    """

    title: str
    results: tuple[Result, ...]

    def __repr__(self) -> str:
        outcomes = [result.outcome for result in self.results]
        counts = [(outcomes.count(word), word) for word in ("failed", "passed", "skipped")]
        summary = ", ".join(f"{count} {word}" for count, word in counts if count)
        width = max((len(result.name) for result in self.results), default=0)
        lines = [f"  {r.name:{width}}  {r.outcome:7}  {r.details}" for r in self.results]
        return "\n".join([f"{self.title}: {summary}", *lines])


class CheckError(AssertionError):
    """A model failed one or more checks. The message is the text of the report.

    Args:
        report: The results of all checks.

    Example:
        >>> CheckError(Report("linear", (Result("check_pure", "failed", "..."),))).report
        linear: 1 failed
          check_pure  failed   ...
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def run_checks(
    title: str,
    checks: Sequence[Check],
    call: Callable[[Check], Finding],
    skip: Collection[Check] | Mapping[Check, str],
) -> Report:
    """Runs all checks but those to skip, and reports them. Raises CheckError if one fails."""
    if unknown := [check for check in skip if check not in checks]:
        names = [each.__name__ for each in checks]
        raise InputError(f"expected skip to contain checks among {names}, got {unknown}")
    results, errors = [], []
    for check in checks:
        if check in skip:
            reason = skip[check] if isinstance(skip, Mapping) else "as the caller wished"
            results.append(Result(check.__name__, "skipped", reason))
            continue
        try:
            finding = call(check)
        except Exception as error:  # a wrong layer may raise anything; the other checks still run
            errors.append(error)
            results.append(Result(check.__name__, "failed", _words(error)))
        else:
            outcome = "skipped" if finding.skipped else "passed"
            results.append(Result(check.__name__, outcome, repr(finding)))
    report = Report(title, tuple(results))
    if errors:
        raise CheckError(report) from errors[0]
    return report


def _words(error: Exception) -> str:
    """Returns the message of an error, on one line. Others than assertions have their type."""
    message = " ".join(str(error).split())
    return message if type(error) is AssertionError else f"{type(error).__name__}: {message}"
