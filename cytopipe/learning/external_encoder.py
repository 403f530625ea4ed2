"""External encoders: networks of others, as a folder with TorchScript weights and a card.

They are baselines: what is a general network worth on this tissue? docs/external-encoders.md says
what a folder holds, and how to make one.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from cytopipe.files import InputError, reading, require
from cytopipe.learning import networks
from cytopipe.study import config as study_config
from cytopipe.study.config import ExternalCard

CARD, WEIGHTS = "card.yaml", "weights.pt"


class ExternalEncoder(networks.Encoder):
    """An encoder of others, without a head.

    Parameters
    ----------
    network : TorchScript module, from images (n, channels, patch_px, patch_px) to features
        (n, width).
    name : of its file, for messages.
    """

    def __init__(self, network: Any, card: ExternalCard, name: str) -> None:
        nn.Module.__init__(self)  # not that of Encoder, which builds one of our networks
        self.plan = networks.Plan("external", card.patch_px, "", 0)
        self.network, self.card, self.name = network, card, name
        # parameters, so that they tell the device of a network that has none
        mean, std = (torch.tensor(values)[:, None, None] for values in (card.mean, card.std))
        self.mean, self.std = (nn.Parameter(each, requires_grad=False) for each in (mean, std))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, width) and no outputs (n, 0) of images (n, 1, h, w), 0 to 1."""
        card = self.card
        size = f"images (n, {card.channels}, {card.patch_px}, {card.patch_px})"
        remedy = f"correct patch_px and channels in {CARD}, or export the network again"
        images = (images.expand(-1, card.channels, -1, -1) - self.mean) / self.std
        with reading(Path(self.name), f"network for {size}", remedy):
            features: Tensor = self.network(images)
        return features, features[:, :0]

    def width(self) -> int:
        """The number of features, from noise.

        Raises
        ------
        InputError
            If the network refuses images of the card's size, or returns anything but one vector of
            finite features per image.
        """
        size = self.card.patch_px
        noise = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            features = self.eval()(noise.to(self.mean.device))[0]
        if features.ndim != 2 or len(features) != 2 or not torch.isfinite(features).all():
            raise InputError(
                f"{self.name}: returns {tuple(features.shape)} for 2 images, or values that are "
                "not finite; export a network that returns one vector of features per image"
            )
        return features.shape[1]


def read_external(card: Path, weights: Path) -> ExternalEncoder:
    """Read an external encoder.

    Raises
    ------
    InputError
        If a file is missing or damaged, or the card lacks a key, has an unknown one or a value out
        of its range.
    """
    for path in (card, weights):
        require(path, f"a folder of features.external holds {CARD} and {WEIGHTS}")
    with reading(card, "YAML file"):
        values = yaml.safe_load(card.read_text("utf-8"))
    if not isinstance(values, dict):
        raise InputError(f"{card}: is not a mapping; write `patch_px: 224` and so on")
    checked = study_config.checked(ExternalCard, values, str(card))
    remedy = "export it by torch.jit.trace or torch.jit.script"
    with warnings.catch_warnings(), reading(weights, "TorchScript file", remedy):
        # torch discourages it since 2.9, but most networks are exported in this form
        warnings.simplefilter("ignore", DeprecationWarning)
        network = torch.jit.load(str(weights), map_location="cpu")  # type: ignore[no-untyped-call]
    return ExternalEncoder(network, checked, str(weights))
