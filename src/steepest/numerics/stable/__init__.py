"""Functions whose value, gradient and Hessian are right over the whole range.

Each states its form and what it does at singular points; none clips, and none makes a
NaN that its input did not hold.
"""

from ._softmax import (
    log1m_softmax as log1m_softmax,
    log_softmax as log_softmax,
    logmeanexp as logmeanexp,
    softmax as softmax,
)
from .compensated import (
    RunningMean as RunningMean,
    RunningSum as RunningSum,
    add_to_mean as add_to_mean,
    add_to_sum as add_to_sum,
    cumsum_compensated as cumsum_compensated,
    running_mean as running_mean,
    running_sum as running_sum,
    sum_compensated as sum_compensated,
)
from .determinants import (
    log_abs_product as log_abs_product,
    log_determinant as log_determinant,
    log_product as log_product,
)
from .differences import (
    difference_of_squares as difference_of_squares,
    expm1 as expm1,
    expm1_minus as expm1_minus,
    expm1_over_x as expm1_over_x,
    log1p as log1p,
    log1p_minus as log1p_minus,
    one_minus_cos as one_minus_cos,
    sqrt1pm1 as sqrt1pm1,
    sqrt_difference as sqrt_difference,
    sqrt_increment as sqrt_increment,
)
from .entropy import (
    binary_entropy as binary_entropy,
    entropy_of_logits as entropy_of_logits,
    kl_of_logits as kl_of_logits,
    xlogx as xlogx,
    xlogy as xlogy,
)
from .exponentials import (
    log1mexp as log1mexp,
    log_expm1 as log_expm1,
    logaddexp as logaddexp,
    logdiffexp as logdiffexp,
)
from .logistic import (
    log_one_minus_tanh2 as log_one_minus_tanh2,
    log_sigmoid as log_sigmoid,
    logcosh as logcosh,
    logit as logit,
    sigmoid as sigmoid,
    softplus as softplus,
    tanh as tanh,
)
from .losses import (
    binary_cross_entropy as binary_cross_entropy,
    cross_entropy as cross_entropy,
    focal_loss as focal_loss,
)
from .norms import (
    angle as angle,
    arctan2 as arctan2,
    cosine_similarity as cosine_similarity,
    distances as distances,
    hypot as hypot,
    norm as norm,
    normalise as normalise,
    sqrt as sqrt,
    squared_distances as squared_distances,
)
from .powers import power1pm1 as power1pm1
from .statistics import (
    standard_deviation as standard_deviation,
    standardise as standardise,
    variance as variance,
)
from .sums import log_mixture as log_mixture, logsumexp as logsumexp
from .tails import (
    erfcx as erfcx,
    gelu as gelu,
    log_erfc as log_erfc,
    log_ndtr as log_ndtr,
    mills_ratio as mills_ratio,
)
