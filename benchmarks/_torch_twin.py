"""The network of the curvature benchmark in PyTorch, and what its libraries make of it.

Needs the extra `peers`: torch, curvlinops-for-pytorch and PyHessian.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn


torch.set_num_threads(2)


def twin(params: Any, x: Any, y: Any) -> tuple[Any, Any, Any, Any]:
    """The same network with the same numbers: model, criterion, inputs, labels."""
    layers: list[nn.Module] = []
    for w, b in params:
        layer = nn.Linear(*w.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(np.array(w.T)))
            layer.bias.copy_(torch.from_numpy(np.array(b)))
        layers += [layer, nn.Tanh()]
    inputs, labels = torch.from_numpy(np.array(x)), torch.from_numpy(np.array(y)).long()
    return nn.Sequential(*layers[:-1]), nn.CrossEntropyLoss(), inputs, labels


def autograd_products(model: Any, criterion: Any, x: Any, y: Any) -> dict[str, Any]:
    """The gradient, and HVP by differentiating it twice as everybody writes it."""
    params = list(model.parameters())
    vectors = [torch.ones_like(p) for p in params]

    def gradient() -> Any:
        return torch.autograd.grad(criterion(model(x), y), params)

    def hvp() -> Any:
        g = torch.autograd.grad(criterion(model(x), y), params, create_graph=True)
        return torch.autograd.grad(g, params, grad_outputs=vectors)

    return {"torch gradient": gradient, "torch autograd hvp": hvp}


def curvlinops_products(model: Any, criterion: Any, x: Any, y: Any) -> dict[str, Any]:
    """The operators of curvlinops on a vector of ones."""
    H, G = curvlinops_operators(model, criterion, x, y)
    v = torch.ones(H.shape[1])
    return {"curvlinops hvp": lambda: H @ v, "curvlinops ggn": lambda: G @ v}


def curvlinops_operators(model: Any, criterion: Any, x: Any, y: Any) -> tuple[Any, Any]:
    from curvlinops import GGNLinearOperator, HessianLinearOperator

    given = (model, criterion, list(model.parameters()), [(x, y)])
    H = HessianLinearOperator(*given, check_deterministic=False)
    return H, GGNLinearOperator(*given, check_deterministic=False)


def counted(matvec: Callable[[Any], Any], n: int) -> tuple[Any, list[int]]:
    """A SciPy operator, and how often it was used."""
    from scipy.sparse.linalg import LinearOperator

    count = [0]

    def product(v: Any) -> Any:
        count[0] += 1
        return matvec(v)

    made: Any = LinearOperator
    return made((n, n), matvec=product, dtype=np.float32), count


def curvlinops_lanczos(operator: Any, steps: int) -> tuple[Any, Any]:
    from curvlinops.papyan2020traces.spectrum import fast_lanczos

    nodes, vectors = fast_lanczos(operator, steps)
    return np.asarray(nodes), np.asarray(vectors)


def symmetric_eig(T: Any, eigenvectors: bool = True) -> tuple[Any, Any]:
    """In the form of `torch.eig`, which torch no longer has and PyHessian calls."""
    values, vectors = torch.linalg.eigh(T)
    return torch.stack([values, torch.zeros_like(values)], dim=1), vectors


def pyhessian_of(model: Any, criterion: Any, x: Any, y: Any) -> Any:
    from pyhessian import hessian

    torch.eig = symmetric_eig
    return hessian(model, criterion, data=(x, y), cuda=False)
