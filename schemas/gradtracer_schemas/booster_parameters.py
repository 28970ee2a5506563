"""Parameters of boosters: every name that a library takes for one, by the name that offers use."""

from __future__ import annotations

BOOSTER_PARAMETERS: dict[str, tuple[str, ...]] = {
    "learning_rate": ("learning_rate", "eta", "shrinkage_rate"),
    "num_boost_round": (
        "num_boost_round", "n_estimators", "num_iterations", "num_iteration", "iterations",
        "num_trees", "num_tree", "num_round", "num_rounds", "nrounds", "n_iter", "max_iter",
    ),
    "early_stopping_rounds": (
        "early_stopping_rounds", "early_stopping_round", "early_stopping", "od_wait",
        "n_iter_no_change",
    ),
    "reg_lambda": ("reg_lambda", "lambda", "lambda_l2", "l2_regularization", "l2_leaf_reg"),
    "min_split_gain": ("min_split_gain", "gamma", "min_split_loss", "min_gain_to_split"),
    "min_child_weight": (
        "min_child_weight", "min_sum_hessian_in_leaf", "min_sum_hessian_per_leaf",
        "min_sum_hessian",
    ),
    "min_child_samples": (
        "min_child_samples", "min_data_in_leaf", "min_data", "min_samples_leaf",
        "min_data_per_leaf",
    ),
    "max_depth": ("max_depth", "depth"),
    "colsample_bytree": (
        "colsample_bytree", "feature_fraction", "sub_feature", "rsm", "colsample_bylevel",
    ),
}  # fmt: skip
"""What the fix `edit-booster-parameter` may be asked to set."""

CATBOOST_NAMES = {
    "num_boost_round": "iterations", "reg_lambda": "l2_leaf_reg", "colsample_bytree": "rsm",
    "max_depth": "depth",
}  # fmt: skip
"""What CatBoost calls them, where that is another name than the offers use."""
