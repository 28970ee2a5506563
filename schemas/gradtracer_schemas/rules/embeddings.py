"""Rules about embedding tables."""

from __future__ import annotations

from gradtracer_schemas.rule import Rule

EMBEDDING_RULES = (
    Rule(
        type="ZOMBIE_EMBEDDINGS",
        title="Rows that move much and get nowhere",
        looks_for=(
            "Rows whose gradient noise, measured by von Neumann's successive differences over "
            "consecutive exposures, stands out among rows of the same exposure while their "
            "norm stays behind; or whose gradient alternates in sign. Tested per row, with "
            "Benjamini-Hochberg control at 5 % (noise) and 1 % (oscillation)."
        ),
        matters=(
            "Such rows spend updates and teach nothing: contradictory labels, merged ids, or a "
            "step size above what their curvature allows."
        ),
        remedies=(
            "Look at the examples behind the named rows first. If they alternate, lower the "
            "learning rate. `auto_fix=True` shrinks the updates of the named rows only, once the "
            "loss has stopped improving. A few rows do not show in a metric of the whole model: "
            "what holds back all of it is for the edits that other types propose."
        ),
        silent_when=(
            "Rows with fewer than 8 tracked exposures are unknown, not zombies. Labels that "
            "are random but fixed are memorised, not oscillated on, and are not found. More "
            "than about 20 % zombies in one exposure stratum hide each other from the noise "
            "test."
        ),
        source=(
            "von Neumann, Distribution of the ratio of the mean square successive difference "
            "to the variance, Ann. Math. Stat. 12 (1941); Benjamini and Hochberg, JRSS B 57 "
            "(1995)."
        ),
    ),
    Rule(
        type="DEAD_EMBEDDINGS",
        title="Rows that no example reaches",
        looks_for=(
            "Rows never looked up, less those that as many look-ups again would reach "
            "(smoothed Good-Toulmin estimate from the rows seen a few times, with its 95 % "
            "interval), against 1 % of the table."
        ),
        matters="Dead rows are parameters that are stored, served and never trained.",
        remedies=(
            "Size the table by the vocabulary that occurs, or map the ids that occur to a "
            "dense range. Serve a default vector for unknown ids instead of an untrained row."
        ),
        silent_when=(
            "While as many look-ups again would widen coverage by more than a tenth, rows are "
            "not yet seen rather than dead. `padding_idx` is never counted."
        ),
        source=("Good and Toulmin, Biometrika 43 (1956); Efron and Thisted, Biometrika 63 (1976)."),
    ),
    Rule(
        type="POPULARITY_BIAS",
        title="A few rows receive most of the look-ups",
        looks_for=(
            "The Gini coefficient of exposures over the rows seen, with its jackknife "
            "interval, against 0.757: the Gini of a Pareto law under which 20 % of rows hold "
            "80 %. And one row with eight times the look-ups of the next one and a twentieth of "
            "all, as padding has that is not said to be one."
        ),
        matters=(
            "The head is trained to convergence many times over while the tail stays near its "
            "initial values; ranking drifts towards what is popular."
        ),
        remedies=(
            "Correct the logits by log Q of the sampling (in-batch softmax), sample negatives "
            "by smoothed popularity, or weight examples by inverse frequency. `padding_idx` for a "
            "row that is padding."
        ),
        silent_when=(
            "The exposure is uneven but less so than 80/20, or fewer than 30 rows were seen."
        ),
        source=("Yitzhaki and Schechtman, The Gini Methodology (2013); Pareto alpha = log4(5)."),
    ),
    Rule(
        type="REPRESENTATION_COLLAPSE",
        title="The table uses few of its dimensions",
        looks_for=(
            "Effective rank (exponential of the entropy of the singular values) of the rows "
            "seen, with a subsample interval, against half of what a table of independent "
            "entries of the same size would have."
        ),
        matters=(
            "Dimensions that carry nothing cost memory and look-up time, and a rank that keeps "
            "falling is the collapse that ruins contrastive and two-tower models."
        ),
        remedies=(
            "Where the optimizer divides by the gradient's scale (Adam, RMSprop, Adagrad) and "
            "has weight decay: less of it, or AdamW. Otherwise reduce `embedding_dim` to the "
            "measured rank; if quality is also poor, look for a loss without negatives."
        ),
        silent_when=(
            "Fewer rows than four times the width have been seen, or the rank has grown by "
            "more than 5 % over the last quarter of the steps: that is a young table."
        ),
        source="Roy and Vetterli, The effective rank, EUSIPCO (2007), sec. 2.",
    ),
    Rule(
        type="EMBEDDING_DRIFT",
        title="Rows move although no example touches them",
        looks_for=(
            "The share of the table's squared movement that falls on rows absent from the "
            "batch, on random rows at tracked steps, with its interval, against one half."
        ),
        matters=(
            "Momentum and weight decay of a dense optimizer keep pushing rows long after their "
            "last example; rare rows end where no data put them."
        ),
        remedies=(
            "A smaller weight decay, where there is one. `sparse=True` with an optimizer of "
            "the table's own, `torch.optim.SparseAdam`; or lower momentum for the table."
        ),
        silent_when=(
            "The optimizer moves only the rows of the batch, as SparseAdam and SGD without "
            "momentum and decay do; or fewer than 30 steps were observed."
        ),
        source=(
            "Ratio estimator with delta-method variance, Cochran, Sampling Techniques (1977), "
            "ch. 6."
        ),
    ),
)
