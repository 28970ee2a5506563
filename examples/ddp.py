"""The matrix factorisation of movielens_mf.py, trained by several processes.

    torchrun --standalone --nproc-per-node 2 examples/ddp.py

Each rank sees its share of the interactions. GradTracer counts on every rank, exchanges counts at
report time only, and rank 0 alone writes the run.
"""

from __future__ import annotations

import argparse
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import gradtracer
import movielens
from movielens_mf import MatrixFactorization, batch_loss, evaluate


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Matrix factorisation on several ranks.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=256, help="of each rank")
    parser.add_argument("--data", help="ml-100k.inter, u.data, or the folder that holds it")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank = dist.get_rank()
    torch.manual_seed(0)
    try:
        interactions = movielens.load(args.data)
    except movielens.DataError as error:
        sys.exit(f"ddp: {error}")
    split = movielens.leave_one_out(interactions)
    train = torch.from_numpy(split.train)
    num_items = int(interactions.items.max()) + 1
    model = MatrixFactorization(int(interactions.users.max()) + 1, num_items, dim=32)
    model = model.to(f"cuda:{rank}") if torch.cuda.is_available() else model
    device = model.item_emb.weight.device
    validation = torch.from_numpy(split.validation).to(device)
    replica = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(replica.parameters(), lr=3e-3, weight_decay=0.1)

    dataset = TensorDataset(train)
    sampler = DistributedSampler(dataset)
    loader = DataLoader(dataset, batch_size=args.batch_size, sampler=sampler)
    run = gradtracer.watch(replica, optimizer=optimizer, total_steps=args.epochs * len(loader))
    torch.manual_seed(rank)  # negatives differ between ranks
    for epoch in range(1, args.epochs + 1):
        sampler.set_epoch(epoch)
        total = 0.0
        for (pairs,) in loader:
            loss = batch_loss(replica, pairs.to(device), num_items, negatives=4)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        run.log(loss=total / len(loader))
        if rank == 0:
            ndcg, _ = evaluate(model, validation, train.to(device))
            print(
                f"epoch {epoch:3d}  loss {total / len(loader):.4f}  validation NDCG@10 {ndcg:.4f}"
            )
    dist.barrier()
    run.finish()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
