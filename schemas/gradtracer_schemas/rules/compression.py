"""Rules about what a trained model needs to be stored and served."""

from __future__ import annotations

from gradtracer_schemas.rule import Rule

COMPRESSION_RULES = (
    Rule(
        type="COMPRESSIBLE",
        title="A layer that can be stored in less",
        looks_for=(
            "A recipe whose quality was measured with the user's own metric: the interval of the "
            "quality kept, on examples that the recipe was not chosen by where there are any, "
            "against the floor that was asked for. The finding is on each layer that the recipe "
            "makes smaller, with its bytes before and after."
        ),
        matters="What is stored and served costs memory and time, and may buy nothing.",
        remedies=(
            "`gradtracer.compress(model, recipe)` after training or before saving, which the fix "
            "writes; or `gradtracer compress CHECKPOINT --recipe FILE` on what was saved."
        ),
        silent_when=(
            "No `RecipeGenerator` was run, it was given no `evaluate`, or the quality kept is not "
            "surely above the floor: a prediction alone is shown in the hover, and is no finding."
        ),
        source=(
            "Guan et al., Post-training 4-bit quantization on embedding tables (2019), for the "
            "formats of rows; LeCun, Denker and Solla, Optimal brain damage, NIPS 2 (1990), for "
            "the second-order terms that candidates are shortlisted by."
        ),
    ),
)
