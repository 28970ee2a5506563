"""Rules about the training as a whole."""

from __future__ import annotations

from gradtracer_schemas.rule import Rule

TRAINING_RULES = (
    Rule(
        type="LEARNING_RATE_TOO_HIGH",
        title="Steps that keep the training loss up",
        looks_for=(
            "A training loss, as told by `run.log(loss=...)`, that lies above its minimum by more "
            "than a series without drift would rise by chance, and by more than 1 %. Or one that "
            "lies still, while a quarter of it or more, and more than as many steps again would "
            "bring, is what the wandering of the weights costs: half of the product of gradient "
            "and weights less their mean, at up to 64 looks over the run (Student t over looks, "
            "p below 0.01)."
        ),
        matters=(
            "A step that is small enough lowers the loss it follows. One that raises it learns "
            "from each batch at the cost of the others; steps that circle the minimum come no "
            "nearer to it, however long they go on."
        ),
        remedies=(
            "Lower the learning rate by a factor of 3, or let a schedule lower it as training goes "
            "on; or average the weights of late steps."
        ),
        silent_when=(
            "No loss is told, or fewer than 20 values (eight in the later half, for one that lies "
            "still); weight decay is strong enough to raise the loss by itself. Of a loss that "
            "lies still: a schedule has halved the rate; a held-out metric has turned; the run had "
            "fewer than some 200 steps; so many units are dead that nothing wanders. "
            "It speaks of the training loss: where a model learns noise by heart, smaller steps "
            "help it to do so. The loss told must be the one whose gradient is taken, and not a "
            "multiple of it."
        ),
        source=(
            "Lévy, Processus stochastiques et mouvement brownien (1948): end less minimum of a "
            "driftless walk; Newey and West, Econometrica 55 (1987), for its variance. Pflug, SIAM "
            "Journal on Control and Optimization 28 (1990), and Yaida, ICLR 2019: stationary "
            "fluctuations under a constant step."
        ),
    ),
    Rule(
        type="MISSING_REGULARIZATION",
        title="Training without the weight decay it needs",
        looks_for=(
            "A held-out metric that turns while the training loss goes on falling. Or tables whose "
            "rows spend more than a quarter of the squared way that they go on taking back the "
            "random values they began with, of which a part is left at the end. Or, when a run has "
            "ended, tables of whose squared norm those values still hold more than half, though "
            "the training takes some of them back for sure. In all cases without weight decay that "
            "would act within the run."
        ),
        matters=(
            "Rows that are rarely met keep their random first values, and the model ranks them at "
            "random; or the model learns its examples by heart."
        ),
        remedies=(
            "`torch.optim.AdamW` with the weight decay that leaves a twentieth of the first values "
            "by the end of the run, or that remembers as many steps as the best one had. It looks "
            "large where the rate is small or the run is short, as it counts times the learning "
            "rate; it is never above 10, which holds weights below 0.1. Where other layers are "
            "trained beside such tables, a second fix is for the tables alone, in a parameter "
            "group. Tables that begin with smaller values; stopping at the best step."
        ),
        silent_when=(
            "The number of steps is not known while the run goes on (pass `total_steps`; it is "
            "known at the end); the tables began with values that are not random, as trained ones "
            "do; the optimizer has weight decay that acts within the run; a table's rows do not go "
            "towards zero at all, however much of their first values they keep, as where a network "
            "reads random codes as well as others; or the table has hardly moved. It does not see "
            "a decay that a table needs which began with small values."
        ),
        source=(
            "Squared cosine of the movement with the first values, by a delete-a-group jackknife "
            "over rows. The decay's pace: Loshchilov and Hutter, ICLR 2019; Wang and Aitchison, "
            "arXiv 2405.13698 (2024). The turn: Lévy (1948), Newey and West (1987)."
        ),
    ),
    Rule(
        type="UNDERTRAINED",
        title="A run that ended while it was learning",
        looks_for=(
            "A held-out metric, or where that says nothing the training loss, that in the later "
            "half of a run still went at half of the run's mean pace or more, in a trend that "
            "chance does not explain, and had not slowed to half of that in the last quarter."
        ),
        matters="The same script, trained longer, gives a better model.",
        remedies="More epochs, with early stopping by a held-out metric.",
        silent_when=(
            "The run has not ended, or was broken off; neither loss nor metric was told, or fewer "
            "than eight values; "
            "or progress has faded to less than that. The training loss is not asked where a "
            "held-out metric was best before the last quarter."
        ),
        source=(
            "Mann, Econometrica 13 (1945); Kendall, Biometrika 30 (1938); Sen, JASA 63 (1968)."
        ),
    ),
    Rule(
        type="STALE_GRADIENTS",
        title="Gradients that nobody clears",
        looks_for=(
            "Steps before which nothing was written into the gradients but one addition, as "
            "PyTorch counts the writes into a tensor, and gradients that hardly differ from those "
            "of some steps before. Looked at every eighth step or more rarely."
        ),
        matters=(
            "`backward()` adds to the gradients that are there. Without `zero_grad()` a step "
            "follows the sum of all gradients of the run."
        ),
        remedies="`optimizer.zero_grad()` once for each step.",
        silent_when=(
            "Something else writes into the gradients at each step: clipping, a GradScaler, "
            "several backward passes a step, other ranks. Fewer than 64 steps looked at."
        ),
        source="Tensor versions: PyTorch, Extending autograd, In-place correctness checks.",
    ),
    Rule(
        type="NON_FINITE",
        title="Gradients that are not finite",
        looks_for=(
            "The first step whose gradient held an infinite or undefined value, and the layer "
            "nearest the loss that had one at that step: a backward pass carries them on towards "
            "the inputs, so that they began there or just after it. Looked for at every step on "
            "the CPU, at the followed steps on other devices. And a loss that was told and is "
            "infinite or undefined, where no gradient was by then."
        ),
        matters="One such value spreads to every weight that the step reaches.",
        remedies=(
            "Find the first operation that yields it with "
            "`torch.autograd.set_detect_anomaly(True)`; lower the learning rate; guard log, "
            "division and square root; use a GradScaler with half precision."
        ),
        silent_when=(
            "A GradScaler skipped the step, as it does while it looks for its scale; or, on a "
            "GPU, the step fell between two bursts and left no trace in the weights."
        ),
        source="Clopper and Pearson, Biometrika 26 (1934), for the interval.",
    ),
)
