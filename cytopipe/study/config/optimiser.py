"""The optimiser of a training run; pretraining and the tasks of the evaluation have one each."""

from typing import Literal

from cytopipe.study.config.base import ConfigSection, field


class Optimiser(ConfigSection):
    """The optimiser of a training run."""

    name: Literal["lars", "sgd", "adamw"] = field(
        "lars: SGD with Nesterov momentum under LARS; sgd: the same without LARS; adamw."
    )
    learning_rate: float = field(
        "The learning rate for a batch of 256; it is scaled with the batch size, except for "
        "evaluation.layers.",
        gt=0,
    )
    schedule: Literal["constant", "cosine"] = field(
        "constant, as in the papers, or cosine: the rate falls to zero along half a cosine, so "
        "that a short training settles."
    )
    momentum: float = field("The Nesterov momentum of lars and sgd.", ge=0, lt=1)
    weight_decay: float = field(
        "The weight decay of all parameters but biases, batch-norm weights included.",
        ge=0,
    )
    trust: float = field("The trust coefficient of lars.", gt=0)
    lars_exclude: Literal["bias", "bias_and_norm"] = field(
        "The parameters that lars does not adapt: bias, or bias_and_norm (all of one dimension). "
        "The paper does not say which."
    )
