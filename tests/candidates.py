"""How well candidates are found, measured on made-up people: python -m tests.candidates

Decides: what is counted. Must not know: the policy.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from orthanc_openmrs.mapping.candidates import Ranked, rank
from tests.people import Case, Clinic, clinic

SEED = 20250703
"""The people whose figures docs/candidates.md tells; the policy was made with other ones."""

THRESHOLDS = (30, 40, 50, 60, 70, 80, 90)
DEEPEST = 50


@dataclass(frozen=True, slots=True)
class AtScore:
    """Of the studies with a score, those that are the patient's; of the patients' studies, those
    with such a score."""

    score: int
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Found:
    """The share of the patients' studies that are first, or among the first three, and the rest."""

    first: float
    first_three: float
    at_scores: Sequence[AtScore]
    by_culture: dict[str, float]
    by_kind: dict[str, float]
    missed: Sequence[tuple[Case, Sequence[Ranked]]]
    milliseconds: float


def measure(people: Clinic) -> Found:
    """Rank every study for every patient."""
    places: list[int] = []
    missed: list[tuple[Case, Sequence[Ranked]]] = []
    first_by: dict[str, list[bool]] = defaultdict(list)
    right: list[int] = []
    wrong: list[int] = []
    started = time.perf_counter()
    for case in people.cases:
        ranked = rank(case.patient, people.studies, DEEPEST)
        wrong += [one.score for one in ranked if one.study != case.study]
        if not case.study:
            continue
        studies = [one.study for one in ranked]
        place = studies.index(case.study) if case.study in studies else DEEPEST
        right += [one.score for one in ranked if one.study == case.study]
        places.append(place)
        if place:
            missed.append((case, ranked[:3]))
        for name in (case.culture, *(case.kinds or ("nothing",))):
            first_by[name].append(place == 0)
    seconds = time.perf_counter() - started
    cultures = {case.culture for case in people.cases}
    shares = {name: sum(hits) / len(hits) for name, hits in first_by.items()}
    return Found(
        first=sum(place == 0 for place in places) / len(places),
        first_three=sum(place < 3 for place in places) / len(places),
        at_scores=[_at(score, right, wrong, len(places)) for score in THRESHOLDS],
        by_culture={name: share for name, share in shares.items() if name in cultures},
        by_kind={name: share for name, share in shares.items() if name not in cultures},
        missed=missed,
        milliseconds=seconds * 1000 / len(people.cases),
    )


def _at(score: int, right: Sequence[int], wrong: Sequence[int], all_right: int) -> AtScore:
    hits = sum(one >= score for one in right)
    others = sum(one >= score for one in wrong)
    return AtScore(score, hits / (hits + others) if hits + others else 1.0, hits / all_right)


def text(found: Found) -> str:
    """The tables of docs/candidates.md."""
    rows = [
        "| score at least | precision | recall |",
        "|---:|---:|---:|",
        *(f"| {at.score} | {at.precision:.3f} | {at.recall:.3f} |" for at in found.at_scores),
        "",
        "| the right study is | share |",
        "|---|---:|",
        f"| first | {found.first:.3f} |",
        f"| among the first three | {found.first_three:.3f} |",
        "",
        "| of these | the right study is first |",
        "|---|---:|",
        *(f"| {name} | {found.by_culture[name]:.3f} |" for name in sorted(found.by_culture)),
        *(f"| {name} | {found.by_kind[name]:.3f} |" for name in sorted(found.by_kind)),
    ]
    return "\n".join(rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.candidates", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--missed", action="store_true", help="also what wasn't first, and why")
    options = parser.parse_args()
    people = clinic(options.seed)
    found = measure(people)
    print(text(found))
    print(f"\n{len(people.studies)} studies ranked in {found.milliseconds:.1f} ms a patient")
    if options.missed:
        for case, ranked in found.missed:
            print("\n", case.kinds, case.patient, "\n  right:", people.studies[case.study])
            for one in ranked:
                traits = people.studies[one.study]
                print("  ", one.score, one.study == case.study, one.reasons, traits)


if __name__ == "__main__":
    main()
