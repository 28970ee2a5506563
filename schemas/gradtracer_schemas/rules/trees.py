"""Rules about boosted trees."""

from __future__ import annotations

from gradtracer_schemas.rule import Rule

TREE_RULES = (
    Rule(
        type="TARGET_LEAKAGE",
        title="One feature is the target in disguise",
        looks_for=(
            "A feature with more than 90 % of the gain of all splits (jackknife interval over "
            "rounds) that by itself explains more than 90 % of the target on examples held out "
            "of the measurement; where no examples are at hand, a validation metric that has "
            "lost all but a tenth of its first value."
        ),
        matters=(
            "The scores are too good to be true. Where the model is used, the column is empty or "
            "written down too late."
        ),
        remedies=(
            "Find out when the column is known. If only with the target or after it, leave it "
            "out (the fix does so where the columns are chosen) and train again. If it is known "
            "in time, silence the type on its line."
        ),
        silent_when=(
            "Two columns leak the same target and share the gain; or there are neither examples "
            "at hand nor a validation set."
        ),
        source=(
            "Brier, Monthly Weather Review 78 (1950); Cochran, Sampling Techniques (1977), ch. 6; "
            "on the fault itself Kaufman et al., Leakage in data mining, TKDD 6 (2012)."
        ),
    ),
    Rule(
        type="EXPLODING_LEAVES",
        title="Each round moves the margin further than the last",
        looks_for=(
            "The log-linear trend of the root mean square movement of the margin by each round, "
            "over the later half of the rounds, with an error for correlated residuals, against "
            "a doubling."
        ),
        matters=(
            "A round fits what the rounds before left over. If that grows, they overshoot, and "
            "the training diverges."
        ),
        remedies="Lower `learning_rate`, then raise `reg_lambda`; look for targets far off.",
        silent_when="Fewer than 40 rounds were trained, or steps are large but do not grow.",
        source=(
            "Friedman, Greedy function approximation, Ann. Stat. 29 (2001), sec. 5, for "
            "shrinkage; Newey and West, Econometrica 55 (1987)."
        ),
    ),
    Rule(
        type="OVERFITTING_ROUNDS",
        title="Validation turns while training goes on",
        looks_for=(
            "The rise of the validation metric from its best round to the last, against what the "
            "minimum of a driftless walk with the same noise gives (Lévy), and against 1 % of "
            "what the metric had gained. Where validation examples are at hand as numbers, 500 of "
            "them are followed down the trees, and the loss of the model cut at each depth is "
            "compared with that of the whole, paired over examples. Of the trees up to the best "
            "round, the splits on each feature that move the prediction up are parted from those "
            "that move it down: where 2,000 validation examples lose more without the ones and "
            "less without the others, the feature's effect goes one way. Each half of the examples "
            "chooses features for the other half to measure."
        ),
        matters="The rounds after the turn fit noise, and the model that is kept holds them all.",
        remedies=(
            "`early_stopping_rounds`, as long as the noise of the metric asks for; fewer rounds; "
            "a smaller `learning_rate`. Shallower trees (`max_depth`) are offered where the splits "
            "below that depth make the validation loss worse. Where effects go one way, "
            "`monotone_constraints` are offered together with the best round: alone they can do "
            "harm, as what is constrained learns noise elsewhere. Whether the effect goes on like "
            "that beyond the examples at hand is for you to know. That features do not interact is "
            "not offered: a fitted model does not show it."
        ),
        silent_when=(
            "The library stops early or keeps the best round by itself; no validation set is "
            "evaluated; fewer than 20 rounds; a metric of one's own, whose sense is not known."
        ),
        source=(
            "Revuz and Yor, Continuous Martingales and Brownian Motion, ch. VI, theorem 2.3; "
            "Newey and West, Econometrica 55 (1987)."
        ),
    ),
    Rule(
        type="STAGNANT_LEAVES",
        title="Rounds whose leaves no longer move anything",
        looks_for=(
            "The share of the margin's path (the sum over rounds of its root mean square "
            "movement) that the last quarter of the rounds goes, with a jackknife interval, "
            "against 2.5 %: a tenth of what equal steps go."
        ),
        matters="Rounds are trained, stored and evaluated that change no prediction.",
        remedies=(
            "If `learning_rate` is above 1, the rounds before went past what they should learn: "
            "lower it. If a parameter holds the leaves down (`gamma`, `min_child_weight`, "
            "`reg_lambda` above its default), lower that. Otherwise train up to the round where "
            "it ends."
        ),
        silent_when="Fewer than 40 rounds; or a leak explains why everything is learned already.",
        source="Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 11.",
    ),
    Rule(
        type="SPLIT_CONCENTRATION",
        title="One feature outweighs all others",
        looks_for=(
            "The largest share of the gain over features against one half, with a jackknife "
            "interval over rounds, and against the longest piece of a stick broken at random "
            "into as many pieces as there are features (Fisher's test)."
        ),
        matters="When that one column drifts or goes missing, little else has been learned.",
        remedies=(
            "Make sure that the column is known at prediction time. `colsample_bytree` below 1 "
            "makes trees learn from the others."
        ),
        silent_when="Fewer than 10 rounds with a split; or few features, of which one must lead.",
        source="Fisher, Tests of significance in harmonic analysis, Proc. R. Soc. A 125 (1929).",
    ),
    Rule(
        type="REDUNDANT_TREES",
        title="The last rounds can be left out",
        looks_for=(
            "The first round from which the validation metric stays within 0.1 % of what was "
            "gained, when at least a quarter of the rounds come after it; with the measured loss "
            "of truncation and its interval."
        ),
        matters="A smaller model answers faster and says the same.",
        remedies="Train as many rounds as are named, or cut the model to them.",
        silent_when=(
            "The library stops early by itself, or no validation set is evaluated; another "
            "finding explains it."
        ),
        source="Newey and West, Econometrica 55 (1987), for the noise of the metric.",
    ),
)
