# %% [markdown]
# # Check a Flax NNX program with BatchNorm and dropout
#
# An NNX module is passed as it is. Its `Param` variables train; the statistics of
# BatchNorm and the counts of the random streams change as the model is called, and the
# run carries them along. Where the model predicts, it is put into evaluation mode.
# Needs Flax: `pip install ".[flax]"`.

# %%
import jax
import optax
from flax import nnx

import steepest
from steepest import data


train, held_out = data.stratified(data.load("digits"), 0.25, seed=0)


# %%
class Network(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(64, 64, rngs=rngs)
        self.norm = nnx.BatchNorm(64, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.last = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        h = jax.nn.relu(self.norm(self.first(x)))
        return self.last(self.dropout(h))


def loss(model, batch):
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


# %%
problem = steepest.Problem(
    model=Network(nnx.Rngs(0)),
    loss=loss,
    data=(train.inputs / 16, train.targets),
    validation=(held_out.inputs / 16, held_out.targets),
    predict=lambda model, x: model(x),
    name="digits, Flax NNX with BatchNorm",
)
recipe = steepest.Recipe(learning_rate=2e-3, epochs=10)

# %%
report = steepest.check(problem, recipe)
print(report)
