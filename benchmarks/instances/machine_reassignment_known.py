"""What others reached on the public machine reassignment instances, and how answers are scored.

300 s on two cores of 2008 (Core2 Duo E8500). Source of the challenge and the winner's values:
M. Buljubašić, PhD thesis, Montpellier 2015, tables 3.10 and 3.11. The lowest sourced values that
are not below a proven bound come from the same tables; from R. Masson et al., "An iterated local
search heuristic for multi-capacity bin packing and machine reassignment problems", Expert Systems
with Applications 40 (2013); from the challenge's team J33; and for a1_2 from an hour of Gurobi.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Known(NamedTuple):
    """What is known of an instance.

    Parameters
    ----------
    initial
        Cost of the initial assignment.
    challenge_best
        The best of all teams of the final.
    winner_average
        Of the winner, a noising local search, over 100 seeds.
    best
        The lowest sourced value not below a proven bound.
    """

    initial: int
    challenge_best: int
    winner_average: int
    best: int

    def score(self, cost: int) -> float:
        """Return the challenge's score: percent of the initial cost above the best."""
        return 100.0 * (cost - self.best) / self.initial

    def challenge_score(self, cost: int) -> float:
        """Return the same against the best of the teams of the final."""
        return 100.0 * (cost - self.challenge_best) / self.initial


KNOWN: Final = {
    "a1_1": Known(49_528_750, 44_306_501, 44_306_501, 44_306_501),
    "a1_2": Known(1_061_649_570, 777_532_896, 778_142_261, 777_531_842),
    "a1_3": Known(583_662_270, 583_005_717, 583_006_320, 583_005_717),
    "a1_4": Known(632_499_600, 252_728_589, 259_815_285, 245_421_266),
    "a1_5": Known(782_189_690, 727_578_309, 727_578_311, 727_578_309),
    "a2_1": Known(391_189_190, 198, 333, 167),
    "a2_2": Known(1_876_768_120, 816_523_983, 740_140_535, 707_237_541),
    "a2_3": Known(2_272_487_840, 1_306_868_761, 1_210_207_120, 1_182_260_491),
    "a2_4": Known(3_223_516_130, 1_681_353_943, 1_680_629_156, 1_680_542_520),
    "a2_5": Known(787_355_300, 336_170_182, 317_804_454, 309_714_522),
    "b_1": Known(7_644_173_180, 3_339_186_879, 3_343_410_128, 3_297_378_837),
    "b_2": Known(5_181_493_830, 1_015_553_800, 1_015_561_513, 1_015_515_249),
    "b_3": Known(6_336_834_660, 156_835_787, 157_737_166, 156_835_787),
    "b_4": Known(9_209_576_380, 4_677_823_040, 4_677_981_438, 4_677_823_040),
    "b_5": Known(12_426_813_010, 923_092_380, 923_905_512, 922_988_809),
    "b_6": Known(12_749_861_240, 9_525_857_752, 9_525_934_654, 9_525_857_752),
    "b_7": Known(37_946_901_700, 14_835_149_752, 14_835_328_102, 14_835_031_813),
    "b_8": Known(14_068_207_250, 1_214_458_817, 1_214_453_127, 1_214_416_705),
    "b_9": Known(23_234_641_520, 15_885_486_698, 15_885_693_227, 15_885_486_698),
    "b_10": Known(42_220_868_760, 18_048_515_118, 18_048_711_483, 18_048_489_888),
}
