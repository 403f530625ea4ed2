"""Filters with the results of scipy.ndimage and scikit-image, computed by OpenCV."""

import cv2
import numpy as np
from numpy.typing import NDArray


def odd_size(length_um: float, spacing_um: float) -> int:
    """The odd number of pixels nearest to a length, at least 1.

    An odd size keeps a filter centred. Size 1 leaves the image as it is, which matters at coarse
    spacings: five pixels of 64 um cover 320 um, but five pixels of 256 um would close every sulcus.
    """
    return max(1, 2 * round((length_um / spacing_um - 1) / 2) + 1)


def minimum_maximum_mean(
    image: NDArray[np.uint8] | NDArray[np.uint16], size: int
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Apply a minimum, a maximum and a mean filter of one odd size.

    The result equals that of scipy.ndimage's `minimum_filter`, `maximum_filter` and
    `uniform_filter` in their default mode, which truncates the mean after each axis, rows first.
    """
    if size == 1:
        return image
    square = np.ones((size, size), np.uint8)
    opened = cv2.dilate(cv2.erode(image, square), square)
    for kernel in ((1, size), (size, 1)):
        total = cv2.boxFilter(
            opened, cv2.CV_32S, kernel, normalize=False, borderType=cv2.BORDER_REFLECT
        )
        opened = (total // size).astype(image.dtype)
    return opened


def gaussian(image: NDArray[np.float64], sigma_px: float) -> NDArray[np.float64]:
    """`skimage.filters.gaussian`: truncated at 4 sigma, edges repeated."""
    radius = int(4 * sigma_px + 0.5)
    if radius == 0:
        return image
    width = 2 * radius + 1
    return np.asarray(
        cv2.GaussianBlur(image, (width, width), sigma_px, borderType=cv2.BORDER_REPLICATE)
    )


def blurred(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """A Gaussian in single precision, edges repeated."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE))


def mean_inside(
    image: NDArray[np.float32], mask: NDArray[np.bool_], sigma_px: float
) -> NDArray[np.float32]:
    """The mean of an image over the pixels of `mask`, weighted by a Gaussian about each pixel.

    0 where less than 2 % of the weight lies in the mask.
    """
    weight = blurred(mask.astype(np.float32), sigma_px)
    total = blurred(np.where(mask, image, 0).astype(np.float32), sigma_px)
    return np.where(weight > 0.02, total / np.maximum(weight, 0.02), 0).astype(np.float32)
