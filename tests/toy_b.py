"""A task that every method must solve: ten Gaussian classes in five groups of two, drawn as tiny pictures."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from shc import methods, metrics
from shc.augmentation import to_float
from shc.hierarchy import Hierarchy
from shc.models import Hasher, codes_from
from shc.training import predict


def pictures(means, generator):
    """uint8 [300, 3, 8, 8] and labels [300]: 32 numbers as 4 rows of 8 pixels, shown twice in each of three colors."""
    labels = torch.arange(10).repeat_interleave(30)
    x = means[labels] + torch.randn(300, 32, generator=generator)
    pixels = (127.5 + 30 * x).round().clamp(0, 255).to(torch.uint8)
    return pixels.view(-1, 1, 4, 8).repeat(1, 3, 2, 1), labels


def train(model, loss, images, labels, epochs, generator, end=lambda epoch: None):
    """AdamW over shuffled batches of 100; `end(epoch)` after each epoch."""
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for epoch in range(epochs):
        for index in torch.randperm(len(images), generator=generator).split(100):
            optimizer.zero_grad()
            loss(model(to_float(images[index])), labels[index]).backward()
            optimizer.step()
        end(epoch + 1)


def toy(name, options="", seed=0, bits=16, epochs=80):
    """Train a method on the toy: its hasher, its targets, the task, and (images, labels) of training and queries."""
    generator = torch.Generator().manual_seed(seed)
    group, own = torch.randn(5, 32, generator=generator), torch.randn(10, 32, generator=generator)
    means = 0.7 * (group.repeat_interleave(2, 0) + own)
    (images, y), query = pictures(means, generator), pictures(means, generator)
    entry, method = methods.info(name), methods.build(name, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        net.dim = 64
        model = Hasher(net, 10)
        if entry.start == "classifier" and not method.trained:
            train(model, F.cross_entropy, images, y, 30, generator)
        classifier, model.head = model.head, method.head(64, bits, 10)
    tree = Hierarchy(tuple((f"group {c // 2}",) for c in range(10)))
    task = methods.Task(
        bits, 10, torch.arange(300) if entry.needs == "none" else y, seed, images=images, paths=tree.paths,
        centers=torch.from_numpy(np.random.default_rng(seed).choice([-1, 1], (10, bits))).float(),
        distances=1 - tree.similarity(), classifier=(classifier.weight, classifier.bias),
        features=lambda: predict(net, images, threads=1),
    )  # fmt: skip
    targets = method.targets(task, model)
    if method.trained:
        end = lambda epoch: method.end_of_epoch(targets, epoch, lambda: predict(model, images, threads=1))
        train(model, lambda u, y: method.loss(u, y, targets)[0], images, task.labels, epochs, generator, end)
    return model, targets, task, (images, y), query


def toy_map(name, options="", seed=0, bits=16, epochs=80):
    """Tie-aware mAP@ALL of the queries' codes against the training images'."""
    model, _, _, *sets = toy(name, options, seed, bits, epochs)
    (codes, y), (query, query_y) = ((codes_from(predict(model, x, threads=1)).numpy(), y.numpy()) for x, y in sets)
    return metrics.evaluate(query, codes, query_y, y)["mAP@ALL"]
