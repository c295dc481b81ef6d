"""Ten Gaussian classes in 32 dimensions, five pairs of siblings that overlap a little, and a small network for them."""

import numpy as np
import torch
from torch import nn

from shc.constructions import feasible_centers
from shc.devices import cpu_threads
from shc.methods import Task, build, info
from shc.metrics import evaluate
from shc.models import codes_from

CLASSES, DIM, ROWS, BITS, BATCH, EPOCHS = 10, 32, 300, 16, 60, 40


class Net(nn.Module):
    """Backbone 32 → 64 → 32 with the method's head."""

    def __init__(self, method):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(DIM, 64), nn.ReLU(), nn.Linear(64, DIM))
        self.head = method.head(DIM, BITS, CLASSES)

    def forward(self, x):
        return self.head(self.backbone(x))


def toy_map(name: str, options: str = "", seed: int = 0) -> float:
    """Tie-aware mAP@ALL of 300 queries' codes among 300 training codes after 200 steps of a method."""
    method, generator = build(name, options), torch.Generator().manual_seed(seed)
    parents = torch.randn(CLASSES // 2, DIM, generator=generator).repeat_interleave(2, 0)
    means = parents + 0.8 * torch.randn(CLASSES, DIM, generator=generator)
    labels = torch.arange(2 * ROWS) % CLASSES
    x = means[labels] + 1.1 * torch.randn(2 * ROWS, DIM, generator=generator)
    train = labels[:ROWS]
    given = torch.arange(ROWS) if info(name).needs == "none" else train
    with torch.random.fork_rng(devices=[]), cpu_threads(1):
        torch.manual_seed(seed)
        model = Net(method)
        task = Task(
            BITS, CLASSES, given, seed,
            centers=torch.from_numpy(feasible_centers(BITS, CLASSES, 6, seed)).float(),
            paths=tuple((f"parent {c // 2}",) for c in range(CLASSES)),
            distances=1 - (np.eye(CLASSES) + np.kron(np.eye(CLASSES // 2), np.ones((2, 2)))) / 2,
            images=x[:ROWS], features=lambda: model.backbone(x[:ROWS]).detach(),
        )  # fmt: skip
        targets = method.targets(task, model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
        for epoch in range(1, EPOCHS + 1 if method.trained else 1):
            for index in torch.randperm(ROWS, generator=generator).split(BATCH):
                total, _ = method.loss(model(x[index]), given[index], targets)
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
            method.end_of_epoch(targets, epoch, lambda: model.eval()(x[:ROWS]).detach())
            model.train()
        codes = codes_from(model.eval()(x)).numpy()
    return evaluate(codes[ROWS:], codes[:ROWS], labels[ROWS:].numpy(), train.numpy(), threads=1)["mAP@ALL"]
