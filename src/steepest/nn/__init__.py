"""Small reference networks and their initialisation."""

from ._initialise import initialise as initialise
from .cnn import CNN as CNN
from .mlp import ACTIVATIONS as ACTIVATIONS, MLP as MLP
