"""Figures and diagnoses in the experiment loggers that teams have already; one file for each."""

from __future__ import annotations

from gradtracer.bridges.mlflow import log_to_mlflow
from gradtracer.bridges.tensorboard import log_to_tensorboard
from gradtracer.bridges.wandb import log_to_wandb

__all__ = ["log_to_mlflow", "log_to_tensorboard", "log_to_wandb"]
