"""The head: a logistic layer fitted on stored features, by L-BFGS rather than by many small steps.

The problem is convex, so a quasi-Newton method finds its optimum in a few dozen passes, in the same way each time.
Features are standardised on the train rows (folded into the layer afterwards), the strength of the penalty is chosen
on rows that are never audited, and the pass with the lowest loss on the tune rows is kept.

Source: Nocedal (1980), Updating quasi-Newton matrices with limited storage. Limit: a linear layer cannot mend
features in which the classes are not linearly separable; that is what fine-tuning is for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""Strengths tried, strongest first: mean log loss + penalty / 2 * |kernel|^2."""
SMALL = 1000
"""Below so many rows the penalty is chosen by cross-validation: the tune rows alone are too few to tell."""
FOLDS = 5
CHUNK = 256
"""Rows computed at a time: what they take stays in the cache between forward and backward product."""
PATIENCE = 20
"""Passes without a lower tune loss after which the fit ends."""


@dataclass(frozen=True)
class Head:
    """A fitted layer: kernel float64 (width, labels), bias (labels,), for raw features; and how it was chosen."""

    kernel: "np.ndarray"
    bias: "np.ndarray"
    penalty: float
    loss: float
    """Mean log loss on the tune rows; 0 = every row certain and right."""
    train_loss: float
    train_accuracy: float

    def __call__(self, features: "np.ndarray") -> "np.ndarray":
        """Probabilities float32 (n, labels)."""
        import numpy as np

        parts = [_softmax(features[at : at + CHUNK] @ self.kernel + self.bias) for at in range(0, len(features), CHUNK)]
        return np.concatenate(parts).astype(np.float32) if parts else np.empty((0, len(self.bias)), np.float32)


def fit(
    features: "np.ndarray",
    labels: "np.ndarray",
    weights: "np.ndarray",
    train: "np.ndarray",
    tune: "np.ndarray",
    *,
    classes: int,
    columns: slice = slice(None),
    epochs: int = 100,
    penalty: float,
    watch: Callable[[int, "Head"], None] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Head:
    """Fit the layer on the train rows.

    Parameters
    ----------
    features : float32 (n, width); may be a memory map
    labels : int (n,) in 0..classes-1
    weights : float (n,) of the samples, mean about 1
    train, tune : int, rows to fit on and rows to choose on
    columns : which features
    epochs : most passes over the train rows
    penalty : as `choose_penalty` found
    watch : called with (pass, head so far) for the penalty that was chosen
    check : may raise to stop
    """
    problem = _Problem(features, labels, weights, train, columns, classes)
    rows = tune if len(tune) else train
    best: list[tuple[int, Head]] = []

    def keep(step: int, kernel, bias) -> None:
        check()
        loss, _ = _judge(features, labels, weights, rows, columns, kernel, bias)
        if watch or not best or loss < best[0][1].loss:
            on_train = _judge(features, labels, weights, train, columns, kernel, bias)
            head = Head(kernel, bias, penalty, loss, *on_train)
            if not best or loss < best[0][1].loss:
                best[:] = [(step, head)]
            if watch:
                watch(step, head)
        if step - best[0][0] >= PATIENCE:
            raise StopIteration

    problem.solve(penalty, epochs, keep)
    return best[0][1]


def choose_penalty(features, labels, weights, rows, classes, columns, epochs, seed, check):
    """The penalty with the lowest log loss on held-out rows (tune, or folds when there are few), and that loss."""
    import numpy as np

    losses, count = np.zeros(len(PENALTIES)), 0
    for fit_rows, held in _folds(labels, *rows, seed):
        problem = _Problem(features, labels, weights, fit_rows, columns, classes)
        found = _path(problem, held, features, labels, weights, columns, min(epochs, 40), check)
        losses, count = losses + np.array(found) * len(held), count + len(held)
    best = int(np.argmin(losses))
    return PENALTIES[best], float(losses[best] / max(count, 1))


def _path(problem, held, features, labels, weights, columns, passes, check) -> list[float]:
    """Held-out loss for each penalty, strongest first, each start being the solution before.

    Once it has grown twice running, the weaker ones only overfit more: they count as the last one looked at.
    """
    found: list[float] = []
    for penalty in PENALTIES:
        check()
        kernel, bias = problem.solve(penalty, passes, tolerance=1e-4)
        found.append(_judge(features, labels, weights, held, columns, kernel, bias)[0])
        if len(found) > 2 and found[-3] < found[-2] < found[-1]:
            break
    return found + [found[-1]] * (len(PENALTIES) - len(found))


def _folds(labels, train, tune, seed):
    import numpy as np

    if len(train) + len(tune) >= SMALL and len(tune):
        return [(train, tune)]
    rows = np.concatenate([train, tune]).astype(int)
    order = np.random.default_rng(seed).permutation(rows)
    order = order[np.argsort(labels[order], kind="stable")]  # stratified: each fold gets its share of each class
    folds = [order[k::FOLDS] for k in range(min(FOLDS, len(order)))]
    pairs = [(np.sort(np.setdiff1d(rows, held)), held) for held in folds]
    return [(fit_rows, held) for fit_rows, held in pairs if len(fit_rows) and len(held)]


class _Problem:
    """The penalised log loss over some rows, its gradient, and its solution; rows are read in chunks."""

    def __init__(self, features, labels, weights, rows, columns, classes):
        import numpy as np

        self._features, self._rows, self._columns = features, np.sort(rows), columns
        self._labels, self._weights, self._classes = labels, weights, classes
        self._total = float(weights[self._rows].sum()) or 1.0
        self._mean, self._scale = self._moments()
        self._columns_of_kernel = 1 if classes == 2 else classes  # two classes need one direction only
        self._start = np.zeros((len(self._mean) + 1) * self._columns_of_kernel)

    def solve(self, penalty: float, passes: int, keep: Callable | None = None, tolerance: float = 1e-7):
        """Kernel and bias for raw features, after at most so many passes."""
        from scipy.optimize import minimize

        step = 0

        def seen(parameters) -> None:
            nonlocal step
            step += 1
            if keep:
                keep(step, *self._raw(parameters))

        if keep:
            self._start = self._start * 0
            keep(0, *self._raw(self._start))
        result = minimize(
            self._value, self._start, args=(penalty,), jac=True, method="L-BFGS-B", callback=seen,
            options={"maxiter": passes, "maxcor": 20, "ftol": tolerance, "gtol": 1e-5},
        )  # fmt: skip
        self._start = result.x
        return self._raw(result.x)

    def _chunks(self):
        for rows in _parts(self._rows):
            yield self._features[rows, self._columns], self._labels[rows], self._weights[rows]

    def _moments(self):
        import numpy as np

        total, square, count = 0.0, 0.0, 0
        for part, _, _ in self._chunks():
            total, square = total + part.sum(0, dtype=np.float64), square + (part.astype(np.float64) ** 2).sum(0)
            count += len(part)
        mean = total / count
        # a feature that hardly varies tells nothing and must not be blown up
        return mean, np.sqrt(np.maximum(square / count - mean**2, 0)) + 1e-3

    def _raw(self, parameters):
        """Kernel (width, classes) and bias for raw features."""
        import numpy as np

        kernel, bias = self._unscaled(parameters)
        if self._classes == 2:
            return np.hstack([-kernel / 2, kernel / 2]), np.concatenate([-bias / 2, bias / 2])
        return kernel, bias

    def _unscaled(self, parameters):
        matrix = parameters.reshape(-1, self._columns_of_kernel)
        kernel = matrix[:-1] / self._scale[:, None]
        return kernel, matrix[-1] - self._mean @ kernel

    def _value(self, parameters, penalty):
        import numpy as np

        kernel, bias = self._unscaled(parameters)
        kernel32, by_kernel, by_bias, loss = kernel.astype(np.float32), np.zeros_like(kernel), np.zeros_like(bias), 0.0
        for part, labels, weights in self._chunks():
            one, slope = self._slope(part @ kernel32 + bias, labels, weights)
            loss += one
            by_kernel += _transposed_product(part, slope.astype(np.float32))
            by_bias += slope.sum(0)
        by_kernel = (by_kernel - np.outer(self._mean, by_bias)) / self._scale[:, None] / self._total
        matrix = parameters.reshape(by_kernel.shape[0] + 1, -1)
        if self._classes == 2:
            penalty = penalty / 2  # the two kernels are +-half of the one direction
        value = loss / self._total + penalty / 2 * float((matrix[:-1] ** 2).sum())
        return value, np.concatenate([by_kernel + penalty * matrix[:-1], by_bias[None] / self._total]).ravel()

    def _slope(self, logits, labels, weights):
        """Summed log loss and its derivative by the logits."""
        import numpy as np

        if self._classes == 2:
            logits = np.hstack([-logits / 2, logits / 2])
        chances, at = _softmax(logits), np.arange(len(labels))
        loss = -float(weights @ np.log(np.maximum(chances[at, labels], 1e-30)))
        chances[at, labels] -= 1.0
        chances *= weights[:, None]
        return loss, chances[:, 1:] if self._classes == 2 else chances


def _transposed_product(part, slope):
    """``part.T @ slope``, as one pass per column: BLAS is slow at products with a few columns."""
    import numpy as np

    return np.stack([np.ascontiguousarray(column) @ part for column in slope.T], axis=1)


def _judge(features, labels, weights, rows, columns, kernel, bias) -> tuple[float, float]:
    """Weighted log loss, and the plain share of right answers, on some rows."""
    import numpy as np

    loss, total, right = 0.0, 0.0, 0
    for part in _parts(np.sort(rows)):
        chances = _softmax(features[part, columns] @ kernel.astype(np.float32) + bias)
        truth = np.maximum(chances[np.arange(len(chances)), labels[part]], 1e-30)
        loss, total = loss - float(weights[part] @ np.log(truth)), total + float(weights[part].sum())
        right += int((chances.argmax(1) == labels[part]).sum())
    return (loss / total, right / len(rows)) if total else (float("nan"), float("nan"))


def _parts(rows: "np.ndarray") -> list:
    """Sorted rows in chunks; slices where they are one run, because those are read in place and not copied."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        ends = range(int(rows[0]), int(rows[-1]) + 1, CHUNK)
        return [slice(at, min(at + CHUNK, int(rows[-1]) + 1)) for at in ends]
    return [rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK)]


def _softmax(logits: "np.ndarray") -> "np.ndarray":
    import numpy as np

    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
