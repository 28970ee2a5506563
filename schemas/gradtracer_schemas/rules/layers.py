"""Rules about layers with weights."""

from __future__ import annotations

from gradtracer_schemas.rule import Rule

LAYER_RULES = (
    Rule(
        type="LOW_GRADIENT_SNR",
        title="Gradients without a direction in common",
        looks_for=(
            "The signal-to-noise ratio of the gradient over steps, from the mean cosine of "
            "the gradients of two different steps, with its interval, against 0.01; and that "
            "no layer of the model had a signal at any time (self-normalised test, z below "
            "3.5). The model's last layer speaks for all."
        ),
        matters=(
            "Updates then are a random walk: time is spent and nothing is learned. Labels "
            "joined or shuffled wrongly look like this."
        ),
        remedies=(
            "Check that labels belong to their inputs and that the loss uses what the model "
            "computes; then a batch ten times larger, accumulated gradients, or a tenth of the "
            "learning rate."
        ),
        silent_when=(
            "Fewer than 256 tracked steps; a training that has learned and reached its noise "
            "floor; one layer without signal in a model that has some; noise labels on a model "
            "that first learns their mean, or that is of embedding tables alone."
        ),
        source=(
            "McCandlish et al., An empirical model of large-batch training (2018), sec. 2.2; "
            "de la Pena, Lai and Shao, Self-normalized Processes (2009), ch. 15."
        ),
    ),
    Rule(
        type="STAGNATION",
        title="A layer that is trained and does not move",
        looks_for=(
            "Over the later half of the run, the share of tracked steps with an update above a "
            "millionth of the weights, or with any gradient at all, against one in ten "
            "(binomial test). Layers and tables that gradients reach and no optimizer holds, "
            "those that a model keeps in a plain list or dict among them."
        ),
        matters="The layer costs memory and time and stays at its initial values.",
        remedies=(
            "Give it to the optimizer; keep it in an nn.ModuleList or nn.ModuleDict, into which "
            "PyTorch looks, where a plain list or dict has it; look whether its output reaches "
            "the loss; raise the learning rate of its parameter group until an update is 0.1 to "
            "1 % of the weights; freeze it if it is meant to stay."
        ),
        silent_when=(
            "The learning rate is annealed to zero at the end: half of the run must stand "
            "still. Fewer than 32 measured steps. Normalisation layers."
        ),
        source="Update-to-weight ratio; Clopper and Pearson, Biometrika 26 (1934).",
    ),
    Rule(
        type="DEAD_NEURONS",
        title="Output units that receive no gradient",
        looks_for=(
            "Units whose row of the weight's gradient, and bias gradient, were exactly zero in "
            "each of the last 64 to 128 tracked steps, less those still to come "
            "(Good-Toulmin), against a quarter of the layer."
        ),
        matters=(
            "A unit behind ReLU that is off for every example cannot come back: it is stored "
            "and computed for nothing."
        ),
        remedies=(
            "A lower learning rate or a warm-up, normalised inputs, LeakyReLU or GELU, or a "
            "narrower layer."
        ),
        silent_when=(
            "Smooth activations (GELU, SiLU) never pass exactly zero. Units that are rarely "
            "active are not dead. Fewer than 60 tracked steps, or 8 units."
        ),
        source=(
            "Rule of three, Hanley and Lippman-Hand, JAMA 249 (1983); Good and Toulmin, "
            "Biometrika 43 (1956)."
        ),
    ),
    Rule(
        type="SATURATED_ACTIVATIONS",
        title="Units that hardly pass a gradient",
        looks_for=(
            "Units whose tanh, sigmoid, hard tanh or hard sigmoid passed less than a twentieth of "
            "the gradient that it passes at its centre, on average over up to 256 examples of a "
            "batch; their share of the layer over the last 16 to 64 looks, one in every fourth "
            "followed step (Student t over looks), against a quarter."
        ),
        matters=(
            "The weights before such a unit learn at a twentieth of their pace or less, and so "
            "does all that lies before them. What the unit says is nearly a constant, or a yes "
            "and no that was never learned."
        ),
        remedies=(
            "A normalisation before the activation, inputs at unit scale, smaller first weights "
            "(`nn.init.xavier_uniform_`), a lower learning rate; or GELU or ReLU in its "
            "place, which pass large values on."
        ),
        silent_when=(
            "The values do not go from the activation into a module as they are: outputs of the "
            "model, gates that are multiplied, values behind a dropout that is called as a "
            "function, cells of recurrent layers. Compiled models. Fewer than 16 looks. Units that "
            "take both sides within a batch, but are flat in between, count like others: they "
            "learn as slowly."
        ),
        source=(
            "Glorot and Bengio, Understanding the difficulty of training deep feedforward neural "
            "networks, AISTATS (2010), sec. 3; LeCun et al., Efficient BackProp (1998), sec. 4.4."
        ),
    ),
    Rule(
        type="VANISHING_GRADIENTS",
        title="Gradients that are lost on their way",
        looks_for=(
            "Layers whose gradient, relative to their weights, is below a ten-thousandth of the "
            "strongest layer's over the later half of the run (difference of mean logarithms over "
            "steps), and whose updates are below a hundredth of its updates. The first such layer "
            "speaks for all."
        ),
        matters=(
            "The first layers stay what they were at their start; the last ones learn on what "
            "those happen to give."
        ),
        remedies=(
            "GELU or ReLU for saturating activations, with their usual initialisation; "
            "normalisation or residual connections; Adam, which divides the gradient's scale out."
        ),
        silent_when=(
            "The optimizer makes up for it (Adam, until gradients fall below its epsilon); fewer "
            "than three layers, or 32 steps; dead units explain it."
        ),
        source=(
            "Glorot and Bengio, Understanding the difficulty of training deep feedforward neural "
            "networks, AISTATS (2010), sec. 4.2: gradients layer by layer."
        ),
    ),
    Rule(
        type="EXPLODING_UPDATES",
        title="Updates that overwrite the layer",
        looks_for=(
            "Weights that grow tenfold within a burst of 16 steps by updates above 5 % of "
            "their norm (Student t over steps); an update ratio five times above all earlier "
            "bursts, or a tenfold growth between bursts, that the layer's own history makes "
            "improbable (t prediction on the log scale, p below 0.001)."
        ),
        matters=(
            "Such steps overwrite what was learned and mostly end in values that are not "
            "finite, or in rectifiers that are all off."
        ),
        remedies="A lower learning rate, a warm-up, or clipped gradients.",
        silent_when=(
            "Layers that begin near zero, and growth that stays at a usual scale: a gain "
            "below 3. A jump from which the layer has come back. Normalisation layers."
        ),
        source=(
            "Update-to-weight ratio; Student t prediction interval, Hahn and Meeker, "
            "Statistical Intervals (1991), sec. 4.8."
        ),
    ),
)
