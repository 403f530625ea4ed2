"""The optimiser of a training; pretraining and the tasks of the evaluation have one each."""

from typing import Literal

from cytopipe.study.config.base import ConfigSection, field


class Optimiser(ConfigSection):
    """The optimiser of a training."""

    name: Literal["lars", "sgd", "adamw"] = field(
        "lars: SGD with Nesterov momentum under LARS; sgd: the same without LARS; adamw."
    )
    learning_rate: float = field(
        "The learning rate for a batch of 256; it is scaled with the batch size, except for "
        "evaluation.layers.",
        gt=0,
    )
    schedule: Literal["constant", "cosine"] = field(
        "constant, as in the papers, or cosine: the rate falls to zero along half a cosine, which "
        "a short training needs to settle."
    )
    momentum: float = field("The Nesterov momentum of lars and sgd.", ge=0, lt=1)
    weight_decay: float = field(
        "The decay of all parameters that are not biases, so also of batch-norm weights.",
        ge=0,
    )
    trust: float = field("The trust coefficient of lars.", gt=0)
    lars_exclude: Literal["bias", "bias_and_norm"] = field(
        "The parameters that lars does not adapt; bias_and_norm are all of one dimension. The "
        "paper does not say."
    )
