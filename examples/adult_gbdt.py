"""Who earns more than 50,000? Three boosting libraries on the Adult census, round by round.

    python examples/adult_gbdt.py                    # all three, one after the other
    python examples/adult_gbdt.py --library lightgbm --rounds 200

The defaults are a common first setting: many rounds, fast learning, nothing that stops them. Each
library gets the categories as it wants them: XGBoost and LightGBM as pandas keeps them, CatBoost
by name.
"""

from __future__ import annotations

import argparse

import catboost
import lightgbm as lgb
import xgboost as xgb

import adult
import gradtracer


def train_xgboost(train: adult.Census, valid: adult.Census, args: argparse.Namespace) -> float:
    params = {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "eta": args.learning_rate,
        "max_depth": 8,
        "seed": args.seed,
        "nthread": args.threads,
    }
    dtrain = xgb.DMatrix(train.features, train.target, enable_categorical=True)
    dvalid = xgb.DMatrix(valid.features, valid.target, enable_categorical=True)
    evals: dict[str, dict[str, list[float]]] = {}
    xgb.train(
        params,
        dtrain,
        num_boost_round=args.rounds,
        evals=[(dtrain, "train"), (dvalid, "valid")],
        evals_result=evals,
        verbose_eval=False,
        callbacks=[gradtracer.xgboost_callback()],
    )
    return evals["valid"]["logloss"][-1]


def train_lightgbm(train: adult.Census, valid: adult.Census, args: argparse.Namespace) -> float:
    model = lgb.LGBMClassifier(
        n_estimators=args.rounds,
        learning_rate=args.learning_rate,
        num_leaves=127,
        random_state=args.seed,
        n_jobs=args.threads,
        verbose=-1,
    )
    model.fit(
        train.features,
        train.target,
        eval_X=(train.features, valid.features),
        eval_y=(train.target, valid.target),
        eval_names=["train", "valid"],
        callbacks=[gradtracer.lightgbm_callback()],
    )
    return model.evals_result_["valid"]["binary_logloss"][-1]


def train_catboost(train: adult.Census, valid: adult.Census, args: argparse.Namespace) -> float:
    model = catboost.CatBoostClassifier(
        iterations=args.rounds,
        learning_rate=args.learning_rate,
        depth=8,
        cat_features=train.categorical,
        random_seed=args.seed,
        thread_count=args.threads,
        use_best_model=False,
        allow_writing_files=False,
        verbose=0,
    )
    gradtracer.watch(model)
    model.fit(train.features, train.target, eval_set=(valid.features, valid.target))
    return model.get_evals_result()["validation"]["Logloss"][-1]


TRAIN = {"xgboost": train_xgboost, "lightgbm": train_lightgbm, "catboost": train_catboost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", choices=[*TRAIN, "all"], default="all")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the library likes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="file or folder with Adult; by default it is looked for")
    args = parser.parse_args()
    args.threads = args.threads or -1
    census = adult.load(args.data)
    train, valid = census.split(args.seed)
    print(f"data: {census.source}, {len(train.target):,} examples to train on")
    for library in TRAIN if args.library == "all" else [args.library]:
        loss = TRAIN[library](train, valid, args)
        print(f"{library:9} validation log loss {loss:.4f} after {args.rounds} rounds")


if __name__ == "__main__":
    main()
