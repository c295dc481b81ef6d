"""What the tests of shc.launch run in several processes; new processes import it from here."""

import os
import signal

import torch
import torch.distributed as dist
from torch import nn

from shc import methods
from shc.launch import ranks
from shc.schedule import Schedule
from shc.training import fit

METHODS = {"cross_entropy": "", "dpsh": "", "mds": "batch_norm=false, bank=20", "shrewd": ""}
CLASSES, BITS = 4, 12
SCHEDULE = Schedule(epochs=2, batch=12, lr=0.01, seed=3, threads=1)


class Memory:
    """A checkpoint that only counts."""

    saved = 0

    def load(self):
        return None

    def save(self, tensors, state):
        self.saved += 1


def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (40, 3, 8, 8), generator=generator, dtype=torch.uint8), torch.arange(40) % CLASSES


def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Linear(16, BITS))


def loss_of(name, model):
    """The named loss, and the memory that it has beside the model."""
    x, y = images()
    if name == "cross_entropy":
        return lambda u, labels: (nn.functional.cross_entropy(u, labels), {}), None
    method = methods.build(name, METHODS[name])
    centers = torch.randn(CLASSES, BITS, generator=torch.Generator().manual_seed(2)).sign()
    distances = 1 - torch.eye(CLASSES).double().numpy()
    targets = method.targets(methods.Task(BITS, CLASSES, y, centers=centers, distances=distances, images=x), model)
    return lambda u, labels: method.loss(u, labels, targets), targets if isinstance(targets, nn.Module) else None


def train_all():
    """Every method's weights and records, whether all processes hold the same bits, and what each one saved."""
    found = {}
    for name in METHODS:
        model, checkpoint, place = network(), Memory(), ranks()
        loss, state = loss_of(name, model)
        vals = iter([(0.5, 0.9)[place.rank], (0.6, 0.1)[place.rank]])  # the second process would choose epoch 1
        options = dict(checkpoint=checkpoint, state=state)
        records = list(fit(model, loss, *images(), SCHEDULE, evaluate=lambda net, vals=vals: next(vals), **options))
        tensors = {**model.state_dict(), **(state.state_dict() if state is not None else {})}
        everyone = [None] * place.size
        if place.size > 1:
            dist.all_gather_object(everyone, ({k: v.numpy() for k, v in tensors.items()}, checkpoint.saved))
        same = all((a[0][k] == everyone[0][0][k]).all() for a in everyone[1:] for k in tensors)
        saved = [a[1] for a in everyone if a] or [checkpoint.saved]
        found[name] = {k: v.numpy() for k, v in model.state_dict().items()}, records, same, saved
    return found


def batch_norm():
    """The buffers of a network with batch norm after training in all processes, of each process."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    loss = lambda u, labels: (nn.functional.cross_entropy(u, labels), {})
    list(fit(model, loss, *images(), SCHEDULE))
    everyone = [None] * ranks().size
    dist.all_gather_object(everyone, [buffer.tolist() for buffer in model.buffers()])
    return everyone


def everything():
    """All of the above in one start, and a result that is larger than a pipe."""
    return train_all(), batch_norm(), torch.ones(1 << 20)


def second_fails():
    if ranks().rank == 1:
        raise KeyError("the second one is missing")
    ranks().wait()


def second_is_killed():
    if ranks().rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks().wait()


def place(*given):
    return ranks().rank, ranks().size, given
