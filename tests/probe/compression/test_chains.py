"""Linear layers that feed each other alone are found, and what only looks like it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradtracer.compression.chains import chains
from gradtracer.compression.quality import values_of

X = torch.randn(40, 8, generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    """Three layers of the same width, put together by `way`."""

    def __init__(self, way: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = (nn.Linear(8, 8) for _ in range(3))
        self.norm = nn.LayerNorm(8)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


def plain(net: Net, x: Tensor) -> Tensor:
    return net.third(F.gelu(net.second(F.relu(net.first(x)))))


def with_a_shortcut(net: Net, x: Tensor) -> Tensor:
    hidden = F.relu(net.first(x))
    return net.third(F.relu(net.second(hidden) + hidden))


def through_a_norm(net: Net, x: Tensor) -> Tensor:
    return net.third(F.relu(net.second(net.norm(net.first(x)))))


def through_a_softmax(net: Net, x: Tensor) -> Tensor:
    return net.third(F.relu(net.second(net.first(x).softmax(-1))))


def side_by_side(net: Net, x: Tensor) -> Tensor:
    return net.third(F.relu(net.first(x) * net.second(x)))


def with_one_unused(net: Net, x: Tensor) -> Tensor:
    return net.second(net.first(x)) + 0 * net.third(x)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (plain, [["first", "second", "third"]]),
        (with_a_shortcut, []),
        (through_a_norm, [["second", "third"]]),
        (through_a_softmax, [["second", "third"]]),
        (side_by_side, []),
        (with_one_unused, [["first", "second"]]),
    ],
)
def test_only_layers_that_feed_each_other_alone_are_a_chain(
    way: Callable[[Net, Tensor], Tensor], expected: list[list[str]]
) -> None:
    net = Net(way).eval()
    held = {name: each.clone() for name, each in net.state_dict().items()}

    @torch.no_grad()
    def outputs(model: nn.Module) -> Tensor:
        return model(X)

    assert chains(net, outputs, values_of(outputs, net)) == expected
    assert all(torch.equal(net.state_dict()[name], each) for name, each in held.items())


def test_a_shared_weight_is_in_no_chain() -> None:
    net = Net(plain).eval()
    net.third.weight = net.first.weight

    @torch.no_grad()
    def outputs(model: nn.Module) -> Tensor:
        return model(X)

    assert chains(net, outputs, values_of(outputs, net)) == []
